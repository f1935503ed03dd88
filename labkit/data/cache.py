"""The user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """LABKIT_CACHE, else labkit/ in XDG_CACHE_HOME, else ~/.cache/labkit. It need not exist yet."""
    if folder := os.environ.get("LABKIT_CACHE"):
        return Path(folder).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "labkit"
