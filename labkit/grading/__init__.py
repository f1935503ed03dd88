"""Grades a learner's file against the reference without ever running it beside the expected values.

What a file of checks needs is here: `todo`, `whole_lab` and `WeakDraw`. See CONTRIBUTING.md for how to write one.
"""

from labkit.grading.checks import todo, whole_lab
from labkit.grading.verdicts import WeakDraw

__all__ = ["WeakDraw", "todo", "whole_lab"]
