"""Walks through what strangers hand in: follows no link, unpacks nothing to disk, reads within caps."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from labkit.grading.render import printable

ARCHIVE_BYTES = 20 * 2**20
UNPACKED_BYTES = 200 * 2**20
DEPTH = 4  # one folder around everything, phase, lab, lab.py
JUNK = {"__MACOSX", "Thumbs.db", "desktop.ini"}


class Refused(Exception):
    """A submission, or one file of it, that is not accepted; the message is for its author."""


class Intake(Protocol):
    """Takes the members of a submission."""

    def offer(self, name: str, kind: str, load: Callable[[int], bytes]) -> None:
        """One member: its path, what it is if not a plain file, and how to read so many bytes of it."""

    def count(self) -> None:
        """A member that is a folder. Raises Refused when there are too many."""


def shown(name: str) -> str:
    """A file name from a stranger, fit for any report."""
    text = printable(name.encode("utf-8", "backslashreplace").decode())
    return text if len(text) <= 120 else f"{text[:60]}...{text[-50:]}"


def read_folder(top: Path, intake: Intake) -> None:
    """Offers the files of a folder, as deep as a ``lab.py`` may lie."""

    def walk(folder: str, parts: tuple[str, ...]) -> None:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: os.fsencode(entry.name)):
                name = "/".join((*parts, entry.name))
                if entry.is_symlink():
                    intake.offer(name, "a symbolic link", lambda limit: b"")
                elif entry.is_dir():
                    intake.count()
                    if len(parts) + 1 < DEPTH and not entry.name.startswith(".") and entry.name not in JUNK:
                        walk(entry.path, (*parts, entry.name))
                else:
                    kind = "" if entry.is_file(follow_symlinks=False) else "a device or pipe"
                    intake.offer(name, kind, lambda limit, path=entry.path: _read_file(path, limit))

    walk(str(top), ())


def _read_file(path: str, limit: int) -> bytes:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Refused("no plain file")
        return file.read(limit)


def read_archive(path: Path, intake: Intake) -> None:
    """Offers the files of a zip or tar archive. It is held in memory: every later error is one of the archive."""
    if path.stat().st_size > ARCHIVE_BYTES:
        raise Refused(f"it is larger than {ARCHIVE_BYTES >> 20} MB: hand in the lab.py files only")
    data = _read_file(str(path), ARCHIVE_BYTES + 1)
    try:
        if data.startswith(b"PK"):
            _read_zip(data, intake)
        elif data.startswith(b"\x1f\x8b"):
            _read_tar(gzip.GzipFile(fileobj=io.BytesIO(data)), intake)
        elif data[257:262] == b"ustar":
            _read_tar(io.BytesIO(data), intake)
        else:
            raise Refused("it is neither a zip nor a tar archive")
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"the archive is damaged: {type(error).__name__}: {shown(str(error))}") from None


def _read_zip(data: bytes, intake: Intake) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            if info.is_dir():
                intake.count()
                continue
            kind = "a symbolic link" if stat.S_ISLNK(info.external_attr >> 16) else ""
            if info.flag_bits & 1:
                kind = "an encrypted file"
            elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                kind = "a file in a compression other than deflate"

            def load(limit: int, info: zipfile.ZipInfo = info) -> bytes:
                return _damaged(lambda: archive.open(info).read(limit))  # no more than this, whatever a header says

            intake.offer(info.filename, kind, load)


def _damaged(load: Callable[[], bytes]) -> bytes:
    try:
        return load()
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"damaged in the archive ({type(error).__name__})") from None


class _Capped(io.RawIOBase):
    """A stream of which so many bytes may be read: a tar is read from end to end, whatever its headers say."""

    def __init__(self, stream: io.BufferedIOBase, left: int):
        self.stream, self.left = stream, left

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size if size >= 0 else self.left + 1)
        self.left -= len(data)
        if self.left < 0:
            raise Refused(f"unpacked it is larger than {UNPACKED_BYTES >> 20} MB: hand in the lab.py files only")
        return data


def _read_tar(stream: io.BufferedIOBase, intake: Intake) -> None:
    with tarfile.open(fileobj=_Capped(stream, UNPACKED_BYTES), mode="r|") as archive:
        for member in archive:
            if member.isdir():
                intake.count()
                continue
            kind = "a symbolic link" if member.issym() else "a hard link" if member.islnk() else ""
            if not kind and (not member.isreg() or member.issparse()):
                kind = "a device or pipe"

            def load(limit: int, member: tarfile.TarInfo = member) -> bytes:
                return _damaged(lambda: archive.extractfile(member).read(limit))

            intake.offer(member.name, kind, load)
