"""English from the installed Python itself: the topics of its manual and the docstrings of its modules.

Python sources are parsed, not imported, so nothing in them runs. Modules written in C have their docstrings only at
run time: a fixed list of them, all free of side effects, is imported.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import importlib.util
import inspect
import os
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

# C modules that are safe to import, and the name under which their contents are documented.
C_MODULES = {
    "builtins": "builtins", "_abc": "abc", "_bisect": "bisect", "_blake2": "hashlib", "_bz2": "bz2",
    "_codecs": "codecs", "_collections": "collections", "_contextvars": "contextvars", "_csv": "csv",
    "_datetime": "datetime", "_decimal": "decimal", "_elementtree": "xml.etree.ElementTree",
    "_functools": "functools", "_hashlib": "hashlib", "_heapq": "heapq", "_imp": "_imp", "_io": "io", "_json": "json",
    "_locale": "locale", "_lsprof": "cProfile", "_lzma": "lzma", "_multibytecodec": "codecs", "_opcode": "opcode",
    "_operator": "operator", "_pickle": "pickle", "_posixsubprocess": "subprocess", "_queue": "queue",
    "_random": "random", "_signal": "signal", "_socket": "socket", "_sqlite3": "sqlite3", "_sre": "re",
    "_ssl": "ssl", "_stat": "stat", "_statistics": "statistics", "_string": "string", "_struct": "struct",
    "_symtable": "symtable", "_thread": "threading", "_tracemalloc": "tracemalloc", "_typing": "typing",
    "_uuid": "uuid", "_warnings": "warnings", "_weakref": "weakref", "_zoneinfo": "zoneinfo", "array": "array",
    "atexit": "atexit", "binascii": "binascii", "cmath": "cmath", "errno": "errno", "faulthandler": "faulthandler",
    "fcntl": "fcntl", "gc": "gc", "grp": "grp", "itertools": "itertools", "marshal": "marshal", "math": "math",
    "mmap": "mmap", "msvcrt": "msvcrt", "nt": "os", "posix": "os", "pwd": "pwd", "pyexpat": "xml.parsers.expat",
    "resource": "resource", "select": "select", "sys": "sys", "syslog": "syslog", "termios": "termios",
    "time": "time", "unicodedata": "unicodedata", "winreg": "winreg", "zlib": "zlib",
}  # fmt: skip

# Not English prose for learners: tests, bundled applications, tables of data.
SKIPPED_FOLDERS = {"__pycache__", "ensurepip", "idlelib", "pydoc_data", "test", "tests", "turtledemo"}
NEWDOC_FUNCTIONS = {"add_newdoc", "add_docstr"}  # how numpy, scipy and torch document what they write in C


def collect(packages: Iterable[str]) -> list[tuple[str, str]]:
    """(title, text) of Python's topics and docstrings and those of `packages` (import names), no text or title twice.

    They are ordered by a hash of the title. That order is the same on every machine, and it makes every first part a
    fair sample of the whole: 500 documents are not "all topics", the last tenth of the text is a fair validation set.
    """
    documents: dict[str, str] = {}
    seen: set[str] = set()
    folders = {"": sysconfig.get_path("stdlib")}
    for package in packages:
        folders[package] = importlib.util.find_spec(package).submodule_search_locations[0]  # imports nothing
    sources = (source_docs(Path(folder), package) for package, folder in folders.items())
    for name, text in chain(topic_docs(), c_docs(), *sources):
        title = public_name(name) if public_name(name) not in documents else name
        if text not in seen and title not in documents:
            seen.add(text)
            documents[title] = text
    return sorted(documents.items(), key=lambda document: hashlib.blake2b(document[0].encode()).digest())


def topic_docs() -> Iterator[tuple[str, str]]:
    """(title, text) of every topic of `help()`. Empty on a Python that ships without its manual."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        return
    for name in sorted(topics):
        yield f"topic: {name}", topics[name].strip()


def c_docs() -> Iterator[tuple[str, str]]:
    """(qualified name, docstring) of the C_MODULES that this Python has, of their functions, classes and methods."""
    for name, public in C_MODULES.items():
        try:
            module = importlib.import_module(name)
        except ImportError:  # another platform, or built without the library
            continue
        yield from own_doc(public, module)
        for key, value in sorted(vars(module).items()):
            if inspect.isclass(value):
                yield from own_doc(f"{public}.{key}", value)
                for attribute, member in sorted(vars(value).items()):
                    yield from own_doc(f"{public}.{key}.{attribute}", member)
            elif inspect.isbuiltin(value):
                yield from own_doc(f"{public}.{key}", value)


def own_doc(title: str, value) -> Iterator[tuple[str, str]]:
    """The value's docstring, unless there is none or it is only that of its class (as for a plain constant)."""
    doc = getattr(value, "__doc__", None)
    borrowed = doc is type(value).__doc__ and not inspect.isclass(value)
    if isinstance(doc, str) and doc.strip() and not borrowed:
        yield title, inspect.cleandoc(doc)


def source_docs(root: Path, package: str = "") -> Iterator[tuple[str, str]]:
    """(qualified name, docstring) of every Python file below `root`, in the order of their paths.

    package: the import name of `root` itself, empty for the standard library.
    """
    with collector_paused(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's strings
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(name for name in folders if name.isidentifier() and name not in SKIPPED_FOLDERS)
            for file in sorted(files):
                if file.endswith(".py") and not file.startswith(("test_", "conftest")):
                    path = Path(folder, file)
                    parts = [package, *path.relative_to(root).with_suffix("").parts]
                    module = ".".join(part for part in parts if part not in ("", "__init__"))
                    yield from file_docs(path, module)


@contextmanager
def collector_paused():
    """Parsing makes millions of nodes that all die at once; without the garbage collector it takes two thirds."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def file_docs(path: Path, module: str) -> Iterator[tuple[str, str]]:
    """The docstrings of one source file. A file that does not parse (a template, another Python) has none."""
    try:
        source = path.read_bytes()
        tree = ast.parse(source) if b'"""' in source or b"'''" in source else ast.Module([], [])
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    if doc := docstring(tree):
        yield module, doc
    yield from member_docs(tree, module)


def member_docs(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """The docstrings of the functions and classes in a module or class, also of those under an `if` or `try`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if doc := docstring(child):
                yield f"{name}.{child.name}", doc
            if isinstance(child, ast.ClassDef):
                yield from member_docs(child, f"{name}.{child.name}")
        elif isinstance(child, ast.If | ast.Try | ast.ExceptHandler | ast.With):
            yield from member_docs(child, name)
        elif isinstance(child, ast.Expr) and isinstance(child.value, ast.Call):
            yield from newdoc(child.value, name)


def docstring(node: ast.AST) -> str:
    return (ast.get_docstring(node) or "").strip()


def newdoc(call: ast.Call, module: str) -> Iterator[tuple[str, str]]:
    """`add_newdoc("numpy._core.umath", "sin", "Sine of ...")`: how packages document functions written in C."""
    if not (isinstance(call.func, ast.Name) and call.func.id in NEWDOC_FUNCTIONS):
        return
    parts = [part for argument in call.args for part in getattr(argument, "elts", [argument])]
    if len(parts) > 1 and all(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in parts):
        *names, doc = (part.value for part in parts)
        if not names[0].startswith(f"{module.partition('.')[0]}."):  # scipy gives only the function's name
            names.insert(0, module)
        yield ".".join(names), inspect.cleandoc(doc).strip()


def public_name(title: str) -> str:
    """Where users find it: `numpy.linalg._linalg.svd` -> `numpy.linalg.svd`, `numpy._core.numeric.ones` -> `numpy.ones`

    A guess from the habits of numpy and scipy: one private module defines what the package above it offers.
    """
    parts = title.split(".")
    if parts[:2] == ["numpy", "_core"] or (parts[:2] == ["numpy", "lib"] and parts[2:3] and parts[2].startswith("_")):
        return ".".join(["numpy", *parts[3:]]) if len(parts) > 3 and not parts[-1].startswith("_") else title
    private = [i for i, part in enumerate(parts) if part.startswith("_")]
    if len(private) == 1 and 0 < private[0] < len(parts) - 1:
        del parts[private[0]]
    return ".".join(parts)
