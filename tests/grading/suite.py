"""Runs the hostile submissions: what a file in ``hostile/`` means, and the small world it is let loose in.

A file holds what a malicious learner would write: functions named like those of the toy lab are the answers, all other
statements go above them (or, behind the last of them, below). ``from facts import ...`` brings what an attacker would
know: paths, a port, a process. Its docstring ends in the outcomes it must get: ``rank: wrong|error`` in every tier,
``check rank: pass`` in one of them. A TODO not named must be "not started"; "any" is any outcome at all.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from labkit import catalogue, skeleton
from labkit.grading import mistakes, sandbox
from labkit.grading.answers import Answers
from labkit.grading.checks import checks
from labkit.grading.engine import Engine
from labkit.grading.keeper import OPEN_FOLDERS, descendants
from labkit.grading.oracle import generator
from labkit.grading.report import WHOLE, Report
from labkit.grading.session import Limits, open_template

HERE = Path(__file__).parent
HOSTILE = sorted(path for path in (HERE / "hostile").iterdir() if path.suffix in (".py", ".txt"))
CAPS = {"memory": 512 * 2**20, "disk": 16 * 2**20, "processes": 24, "cpu": 2}
SECRET = "labkit-hostile-secret-f00ba4"
SEED = 20_261_122  # any but 0, which everybody can try at home
RIGHT = """
def right(words):
    return {w: i for i, w in enumerate(sorted(set(words), key=lambda w: (-words.count(w), w)))}
"""


@dataclass(frozen=True)
class Hostile:
    """One hostile submission, read from its file."""

    path: Path

    @cached_property
    def source(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def about(self) -> str:
        if self.path.suffix == ".py":
            return ast.get_docstring(ast.parse(self.source))
        return "\n".join(line[2:] for line in self.source.splitlines() if line.startswith("#"))

    @cached_property
    def said(self) -> dict[str, str]:
        return dict(re.findall(r"^([a-z ]+[a-z]): ([a-z0-9.| ]+)$", self.about, re.M))

    @property
    def lab(self) -> str:
        return self.said.get("lab", "1.1")

    def wanted(self, tier: str, todo: str) -> set[str]:
        """The verdicts a TODO may get in a tier."""
        return set((self.said.get(f"{tier} {todo}") or self.said.get(todo) or "not started").split("|"))

    def text(self, lab: catalogue.Lab, facts: dict[str, object]) -> str:
        """The ``lab.py`` that is handed in."""
        if self.path.suffix == ".txt":
            return self.source
        tree = ast.parse(self.source)
        lines = self.source.splitlines()
        known = "\n".join(f"{name} = {value!r}" for name, value in facts.items()) + RIGHT
        above, below, bodies = [known], [], {}
        regions = {region.slug for region in skeleton.solution_regions(mistakes.reference_source(lab))}
        for node in tree.body[1:]:
            text = "\n".join(lines[node.lineno - 1 : node.end_lineno])
            if isinstance(node, ast.FunctionDef) and node.name in regions:
                body = lines[node.body[0].lineno - 1 : node.end_lineno]
                bodies[node.name] = textwrap.dedent("\n".join(body))
            elif not (isinstance(node, ast.ImportFrom) and node.module == "facts"):
                (below if bodies else above).append(text)
        text = skeleton.skeleton(mistakes.reference_source(lab), lab.id)
        head, name, rest = text.partition("\ndef ")
        text = head + "\n".join(above) + "\n\n" + name + rest + "\n" + "\n".join(below) + "\n"
        return skeleton.compose(text, bodies).text


@dataclass
class World:
    """A repository, other people's submissions, a home, a server and a process: everything to be protected."""

    folder: Path
    port: int
    bystander: int
    changed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.chmod(0o755)
        self.root, self.submissions, self.home, self.desk = (
            self.folder / name for name in ("toy", "submissions", "home", "desk")
        )
        self.desk.mkdir()
        self.desk.chmod(0o777)
        self.furnish()
        self.before = self.state()

    def furnish(self) -> None:
        """Puts everything in its place (again)."""
        for folder in (self.root, self.submissions, self.home):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(HERE / "toy", self.root, ignore=shutil.ignore_patterns("__pycache__"))
        self.home.mkdir()
        (self.home / "notes.txt").write_text("the answers of all students\n")
        (self.submissions / "alice").mkdir(parents=True)
        (self.submissions / "alice" / "lab.py").write_text(RIGHT.replace("right", "rank"))

    def state(self) -> dict[str, str]:
        """Every file that no submission may change, by its hash."""
        files = [path for folder in (self.root, self.submissions, self.home) for path in sorted(folder.rglob("*"))]
        files = [path for path in files if path.is_file() and "__pycache__" not in path.parts]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    @cached_property
    def memorised(self) -> dict[str, dict]:
        """What one gets by running the public checks with seed 0."""
        lab = catalogue.find("1.1", self.root)
        reference, found = mistakes.reference_module(lab), {}

        def grade(target, words, **_):
            if target == "rank":
                found[" ".join(words)] = reference.rank(words)

        for check in checks(lab):
            if check.todo == "rank":
                check.function(grade, generator(0, check, 0))
        return found

    @property
    def facts(self) -> dict[str, object]:
        paths = {"ROOT": self.root, "SUBMISSIONS": self.submissions, "HOME": self.home, "DESK": self.desk}
        facts = {name: str(path) for name, path in paths.items()}
        return facts | {"PORT": self.port, "GRADER": self.bystander, "SECRET": SECRET, "MEMORISED": self.memorised}

    def grade(self, hostile: Hostile, engine: Engine, tier: str, seed: int = SEED) -> Report:
        """Grades one submission as ``labkit grade`` would."""
        lab = catalogue.find(hostile.lab, self.root)
        answers = Answers(hostile.text(lab, self.facts), "lab.py")
        engine.timeout_factor = float(hostile.said.get("patience", 1.0))
        results = tuple(engine.run(lab, check, answers, seed) for check in checks(lab))
        return Report(lab, results, seed, tier)

    def verdicts(self, hostile: Hostile, engine: Engine, tier: str, seed: int = SEED) -> dict[str, str]:
        """The verdict of each TODO; a submission that broke its grader gets a fresh one for the next."""
        report = self.grade(hostile, engine, tier, seed)
        if report.infra:
            engine.forget()
        return {score.todo: str(score.verdict) for score in report.scores}

    def left_behind(self, templates: Iterable[int] = ()) -> list[str]:
        """What submissions left where they may write, and folders of checks of these templates; removes it."""
        found = []
        mine = "|".join(["hostile", *(f"check-{pid}-" for pid in templates)])
        for place in (*OPEN_FOLDERS, self.desk, self.submissions):
            with contextlib.suppress(OSError):
                found += [entry.path for entry in os.scandir(place) if re.match(f"labkit-({mine})", entry.name)]
        for path in found:
            subprocess.run(["rm", "-rf", path], check=True)
        return found


@contextlib.contextmanager
def world() -> Iterator[World]:
    """A world readable by everybody: what protects it is the sandbox alone."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="labkit-world-")))
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=50))
        sleeper = stack.enter_context(subprocess.Popen(["sleep", "600"]))
        stack.callback(sleeper.kill)
        made = World(folder, server.getsockname()[1], sleeper.pid)
        made.left_behind()  # by a run that was killed
        yield made


def limits(tier: str, **caps: int) -> Limits:
    if tier == "check":
        return Limits(CAPS["memory"], 64 * 2**20)
    return sandbox.limits(tier, **(CAPS | caps))


def engine(tier: str, off: tuple[str, ...] = (), **caps: int) -> Engine:
    """An engine of a tier. ``off``: modules of ``tests/grading/off`` that take a protection out of its templates."""
    names = tuple(f"tests.grading.off.{name}" for name in off)
    return Engine(limits(tier, **caps), open_with=lambda preload, limits: open_template((*preload, *names), limits))


def pids(engine: Engine) -> list[int]:
    return [template.process.pid for template in engine.templates.values()]


def survivors() -> set[int]:
    """All living processes that come from this one, orphans included where it is their subreaper."""
    found = set()
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):
            dead = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
            found |= set() if dead else {pid}
    return found


def end(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def common_python(folder: Path) -> dict[str, str] | None:
    """Python as every user of the machine can run it: this one, or the system's with this one's packages.

    Returns what to set in ``sys``; None when there is no such thing.
    """
    if _runs_for_all(sys.executable):
        return {}
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    if not _runs_for_all(system, "pass"):
        return None
    made = folder / "venv"
    subprocess.run([system, "-m", "venv", "--without-pip", made], check=True)
    packages = next(made.glob("lib/*/site-packages"))
    (packages / "more.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    executable = str(made / "bin" / "python")
    if not _runs_for_all(executable):
        return None
    return {"executable": executable, "prefix": str(made), "base_prefix": "/usr"}


def _runs_for_all(python: str, code: str = "import numpy") -> bool:
    if not os.path.exists(python):
        return False
    user = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    with contextlib.suppress(OSError):
        return subprocess.run([python, "-c", code], capture_output=True, cwd="/", **user).returncode == 0
    return False


__all__ = ["CAPS", "HOSTILE", "SECRET", "SEED", "WHOLE", "Hostile", "World"]
