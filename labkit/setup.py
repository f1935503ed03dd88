"""The first run, the installer and the doctor."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys

from rich.console import Console

from labkit import catalogue, progress
from labkit.catalogue import Lab
from labkit.grading.render import relative
from labkit.requirements import missing


def install_for(labs: list[Lab]) -> None:
    """Installs what these labs lack, in the versions of constraints.txt; does nothing when nothing is missing."""
    packages = sorted({package for lab in labs for package in missing(lab)})
    if packages:
        print(f"installing {', '.join(packages)}", flush=True)
        constraints = catalogue.ROOT / "constraints.txt"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "-c", str(constraints), *packages]
        subprocess.run(command, check=True)


def first_run(out: Console) -> None:
    """What `make start` shows: the goal, phase 1 as it is, and the first thing to do."""
    from labkit import checking
    from labkit.cli import next_todo

    labs = catalogue.find_phase(1).labs
    out.rule(f"Where it leads: {labs[0].title}, finished")
    subprocess.run([sys.executable, "solution.py", "--preset", "smoke"], cwd=labs[0].path, check=True)
    out.print()
    out.rule("Where you are: phase 1, untouched" if not any(progress.state(lab).started for lab in labs) else "Phase 1")
    options = {"answers": "lab", "only": None, "seed": 0, "slow": False}
    checking.check_labs(out, list(labs), options, None)
    out.print()
    out.rule("What to do first")
    next_todo()


def doctor(out: Console) -> int:
    """One line per thing that matters; exit code 1 when something needed is missing."""
    from labkit.data.cache import cache_folder

    code = 0

    def line(good: bool | None, what: str, text: str) -> None:
        mark = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[dim]-[/]"}[good]
        out.print(f"{mark} {what:<12} {text}")

    line(sys.version_info >= (3, 11), "Python", f"{platform.python_version()} on {platform.platform()}")
    for name, wanted in sorted(_wanted().items()):
        try:
            have = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            line(None, name, "not installed (labs that need it say so)")
            continue
        line(
            True if have.split("+")[0] == wanted else None,
            name,
            have if have == wanted else f"{have}, tested: {wanted}",
        )
    for lab in catalogue.labs():
        state = progress.state(lab)
        if state.problem:
            code = 1
            line(False, f"lab {lab.id}", f"{relative(str(lab.lab_file))}: {state.problem}")
    line(None, "cores", f"{os.cpu_count()}, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}")
    line(None, "data", f"cache {cache_folder()}, LABKIT_MIRROR={os.environ.get('LABKIT_MIRROR', 'unset')}")
    line(None, "CUDA", _cuda())
    fork = sys.platform == "linux"
    line(None, "grading", "a forked worker per check" if fork else "one spawned worker (untested platform)")
    return code


def _wanted() -> dict[str, str]:
    """The tested versions of the packages the course names itself."""
    names = {package for lab in catalogue.labs() for package in lab.packages}
    names |= {"numpy", "scipy", "regex", "matplotlib", "rich", "typer", "pytest"}
    pins = {}
    for text in (catalogue.ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        name, _, version = text.partition("==")
        if name.lower() in names:
            pins[name.lower()] = version.strip()
    return pins


def _cuda() -> str:
    try:
        import torch
    except ImportError:
        return "torch is not installed"
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no device: checks run on the CPU"
