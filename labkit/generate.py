"""Writes what is generated: ``lab.py``, ``requirements.txt``, import stubs, tables of labs, figures."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from labkit import catalogue, skeleton
from labkit.catalogue import Lab
from labkit.files import write_atomically
from labkit.grading.render import relative
from labkit.requirements import requirements


def generate(out: Console, labs: list[Lab], check: bool = False) -> int:
    """Brings the generated files of these labs up to date; with ``check`` only names what is not (exit code 1)."""
    stale = 0
    for lab in labs:
        outcome = ("stale" if skeleton.drifted(lab) else "unchanged") if check else skeleton.write_lab(lab)
        if outcome == "kept":
            out.print(f"{relative(str(lab.lab_file))}: edited, left alone (labkit update {lab.id} keeps the answers)")
        elif outcome != "unchanged":
            out.print(f"{relative(str(lab.lab_file))}: {outcome}")
            stale += 1
    others = {file: text for lab in labs for file, text in _others(lab).items()}
    for file, text in (others | _with_tables()).items():
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            out.print(f"{relative(str(file))}: {'stale' if check else 'written'}")
            stale += 1
            if not check:
                write_atomically(file, text)
    return 1 if check and stale else 0


def _others(lab: Lab) -> dict[Path, str]:
    from labkit import reference

    stub = reference.FOLDER / f"{lab.module}.pyi"
    return {lab.path / "requirements.txt": requirements(lab), stub: stub_of(lab)}


def stub_of(lab: Lab) -> str:
    """A .pyi of the solution for editors: signatures and docstrings, no bodies."""
    tree = ast.parse(lab.solution.read_text(encoding="utf-8"))

    class Strip(ast.NodeTransformer):
        def visit_FunctionDef(self, node):
            docstring = ast.get_docstring(node, clean=False)
            node.body = ([ast.Expr(ast.Constant(docstring))] if docstring else []) + [ast.Expr(ast.Constant(...))]
            return node

        visit_AsyncFunctionDef = visit_FunctionDef

    keep = (
        ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom | ast.AnnAssign | ast.Assign
    )
    tree.body = [Strip().visit(node) for node in tree.body if isinstance(node, keep)]
    return f"# Generated from lab {lab.id} by `make skeletons`.\n{ast.unparse(ast.fix_missing_locations(tree))}\n"


TABLE = re.compile(r"(?<=<!--lab table-->\n).*?(?=<!--end of lab table-->)", re.S)


def lab_tables() -> dict[Path, str]:
    """The tables of labs as the root README and each phase's README show them, between two comments."""
    every, tables = [], {}
    for phase in catalogue.phases():
        if phase.labs:
            every += [f"**[{phase.title}]({phase.path.name}/)**", "", _table(phase, phase.path.name + "/"), ""]
            tables[phase.path / "README.md"] = "\n" + _table(phase, "") + "\n\n"
    return {catalogue.ROOT / "README.md": "\n" + "\n".join(every) + "\n"} | tables


def _table(phase: catalogue.Phase, prefix: str) -> str:
    lines = ["| | Lab | Minutes | Difficulty |", "|---|---|---:|---|"]
    for lab in phase.labs:
        lines.append(f"| {lab.id} | [{lab.title}]({prefix}{lab.path.name}/) | {lab.minutes} | {'★' * lab.difficulty} |")
    return "\n".join(lines)


def _with_tables() -> dict[Path, str]:
    """The READMEs that hold a table, as they should be."""
    fresh = {}
    for readme, table in lab_tables().items():
        if readme.is_file():
            fresh[readme] = TABLE.sub(lambda _, table=table: table, readme.read_text(encoding="utf-8"))
    return fresh


def make_figures(out: Console, lab: Lab) -> None:
    """Runs ``solution.py`` as lab.toml says, keeping what it prints in figures/output.txt, and the lab's bench."""
    folder = lab.path / "figures"
    folder.mkdir(exist_ok=True)
    printed = []
    for line in lab.figures:
        command = [sys.executable, "solution.py", *shlex.split(line), "--out", "figures"]
        out.print(f"{lab.id}: python solution.py {line}")
        done = subprocess.run(command, cwd=lab.path, stdout=subprocess.PIPE, text=True, check=True)
        printed.append(done.stdout)
        out.print(done.stdout, markup=False)
    if printed:
        write_atomically(folder / "output.txt", "".join(printed))
    if (lab.path / "bench.py").is_file():
        subprocess.run([sys.executable, "bench.py", "--out", "figures"], cwd=lab.path, check=True)
