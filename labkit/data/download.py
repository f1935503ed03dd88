"""Where a data set's file comes from: a mirror folder, the cache, else a download that is resumed and checked."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from labkit.data.cache import cache_folder
from labkit.data.datasets import Dataset
from labkit.data.errors import ChecksumError, DataUnavailable

ATTEMPTS = 3  # a connection that breaks is taken up again where it broke
TIMEOUT = 30.0  # seconds without a byte
PAUSE = 0.3  # seconds before the second attempt, twice that before the third

_verified: set[tuple] = set()  # files whose checksum this process has already found right


class NotServed(Exception):
    """An address does not answer, does not have the file, or breaks off; another may do."""


@dataclass(frozen=True)
class Copy:
    """A form in which a data set exists: its path below a mirror or the cache, size, sha256 and, if any, address."""

    path: str
    bytes: int
    sha256: str
    url: str | None


def copies(dataset: Dataset) -> list[Copy]:
    """The mirrored form first, then the original: the same bytes, except where the mirror has it gzipped."""
    mirror = mirror_setting()
    url = f"{mirror.rstrip('/')}/{dataset.path}" if isinstance(mirror, str) else None
    found = [Copy(dataset.path, dataset.bytes, dataset.sha256, url)]
    if dataset.url_sha256:
        path = dataset.path.removesuffix(".gz")
        found.append(Copy(path, dataset.url_bytes, dataset.url_sha256, dataset.url))
    elif dataset.url:
        found.append(Copy(dataset.path, dataset.bytes, dataset.sha256, dataset.url))
    return found


def mirror_setting() -> Path | str | None:
    """LABKIT_MIRROR: a folder (Path) or an address (str); None when it is not set."""
    setting = os.environ.get("LABKIT_MIRROR")
    if not setting or setting.startswith(("http://", "https://")):
        return setting or None
    folder = Path(setting).expanduser()
    if not folder.is_dir():
        raise DataUnavailable(f"LABKIT_MIRROR is {setting!r}, which is neither a folder nor an http(s) address")
    return folder


def find_local(dataset: Dataset) -> tuple[Path, Copy] | None:
    """The file in the mirror folder, else in the cache, else None. Its contents are not looked at."""
    mirror = mirror_setting()
    for folder in [mirror, cache_folder()] if isinstance(mirror, Path) else [cache_folder()]:
        for copy in copies(dataset):
            if (folder / copy.path).is_file():
                return folder / copy.path, copy
    return None


def locate(dataset: Dataset) -> tuple[Path, Copy]:
    """The data set's file with the right checksum, downloaded into the cache if need be.

    Raises DataUnavailable when it cannot be had, ChecksumError when what is there is not the right file.
    """
    found = find_local(dataset)
    if found:
        path, copy = found
        check_file(path, copy)
        return found
    problems: list[str] = []
    for copy in copies(dataset):
        if copy.url:
            try:
                return download(copy, dataset.name), copy
            except NotServed as problem:
                problems.append(str(problem))
    raise DataUnavailable(why_unavailable(dataset, problems))


def why_unavailable(dataset: Dataset, problems: list[str]) -> str:
    """One sentence: what was tried, what would help, and what to use instead."""
    if dataset.url:
        reason = f"could not be downloaded ({'; '.join(problems)}): connect to the network"
    elif problems:
        reason = f"the mirror failed ({'; '.join(problems)}): check LABKIT_MIRROR"
    else:
        reason = f"is in no public place in this form (from {dataset.homepage}; {dataset.change}): set LABKIT_MIRROR"
        reason += f" to a folder or address that has {dataset.path}"
    return f"{dataset.name} is not on this machine and {reason}, or use the built-in corpus with --data python-docs"


def check_file(path: Path, copy: Copy) -> None:
    """Raise ChecksumError unless the file has the right sha256. Each file is read once per process."""
    status = path.stat()
    key = (str(path), status.st_size, status.st_mtime_ns, copy.sha256)
    if key not in _verified:
        actual = sha256_of(path)
        if actual != copy.sha256:
            raise ChecksumError(
                f"{path} is damaged or another version: expected sha256 {copy.sha256}, got {actual}; "
                "replace or delete it"
            )
        _verified.add(key)


def sha256_of(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(copy: Copy, name: str) -> Path:
    """Download into the cache and return the path. The file gets its final name only when its checksum is right.

    One process at a time: the lock goes with the process that holds it, however that ends, and its `.part` file stays,
    so that the next one goes on from there. Raises NotServed, or ChecksumError for a wrong file.
    """
    from filelock import FileLock

    target = cache_folder() / copy.path
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(target.name + ".lock")):
            if not target.is_file():  # another process may just have finished it
                fetch_and_check(copy, part, name)
                os.replace(part, target)
    except OSError as problem:
        raise DataUnavailable(f"cannot write {target}: {problem}; set LABKIT_CACHE to another folder") from None
    check_file(target, copy)
    return target


def fetch_and_check(copy: Copy, part: Path, name: str) -> None:
    """Complete `part` from copy.url, resuming after breaks. A wrong file is deleted."""
    import httpx

    for attempt in range(ATTEMPTS):
        resumed = part.exists()
        try:
            fetch(copy, part, name)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL, httpx.UnsupportedProtocol) as problem:
            raise NotServed(f"{copy.url}: {problem}") from None
        except httpx.HTTPStatusError as problem:
            status = problem.response.status_code
            if status == 416:  # the server does not know the range that follows our part
                part.unlink(missing_ok=True)
            elif status < 500 or attempt == ATTEMPTS - 1:
                raise NotServed(f"{copy.url} answered {status}") from None
        except httpx.RequestError as problem:
            if attempt == ATTEMPTS - 1:
                size = part.stat().st_size if part.exists() else 0
                raise NotServed(f"{copy.url} broke off after {size:,} of {copy.bytes:,} bytes: {problem}") from None
        else:
            actual = sha256_of(part)
            if actual == copy.sha256:
                return
            part.unlink()
            if not resumed:
                raise ChecksumError(f"{copy.url} is another file: expected sha256 {copy.sha256}, got {actual}")
        time.sleep(PAUSE * (attempt + 1))
    raise NotServed(f"{copy.url} could not be completed in {ATTEMPTS} attempts")


def fetch(copy: Copy, part: Path, name: str) -> None:
    """One request for what `part` still lacks, appended to it. Raises httpx errors, ChecksumError on a wrong size."""
    import httpx

    have = part.stat().st_size if part.exists() else 0
    if have > copy.bytes:
        part.unlink()
        have = 0
    if have == copy.bytes:
        return
    headers = {"Accept-Encoding": "identity"}  # the file's own bytes, not bytes packed for the journey
    if have:
        headers["Range"] = f"bytes={have}-"
    with httpx.stream("GET", copy.url, headers=headers, follow_redirects=True, timeout=TIMEOUT) as response:
        response.raise_for_status()
        if response.headers.get("Content-Range", "").partition("/")[0] != f"bytes {have}-{copy.bytes - 1}":
            have = 0  # the server sends the whole file
        with part.open("ab" if have else "wb") as file, progress_bar(name, have, copy.bytes) as advance:
            for chunk in response.iter_raw():
                have += len(chunk)
                if have > copy.bytes:
                    break
                file.write(chunk)
                advance(len(chunk))
    if have != copy.bytes:
        part.unlink()
        got = "more" if have > copy.bytes else f"{have:,}"
        raise ChecksumError(f"{copy.url} is another file: expected {copy.bytes:,} bytes, got {got}")


@contextmanager
def progress_bar(name: str, done: int, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr when it is a terminal; yields a function to call with the bytes that arrived."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich import progress
    from rich.console import Console

    columns = [
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
    ]
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(name, completed=done, total=total)
        yield lambda count: bars.advance(task, count)
