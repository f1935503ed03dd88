"""The kernel has no Landlock, as in many containers."""

from labkit.grading import filters, keeper

filters.landlock_version = keeper.landlock_version = lambda: 0
