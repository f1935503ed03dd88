"""The user's cache folder, and writing to it so that a half-written file never bears its final name."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """LABKIT_CACHE, else labkit/ in XDG_CACHE_HOME, else ~/.cache/labkit. It need not exist yet."""
    if folder := os.environ.get("LABKIT_CACHE"):
        return Path(folder).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "labkit"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a temporary file beside `path` and rename it: readers see the old file or the new one, nothing between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
