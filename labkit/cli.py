"""The ``labkit`` command. Heavy imports stay inside the commands: ``labkit check`` must answer in under a second."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from labkit import catalogue, cli_grade, progress, skeleton
from labkit.catalogue import Lab, labs
from labkit.files import write_atomically
from labkit.grading import render

# One thread per process: two cores under contention slow a two-threaded torch a hundredfold.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

app = typer.Typer(
    help="Build large language models by writing the code yourself: labs, hints, grades.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
out = render.console()

Names = Annotated[list[str] | None, typer.Argument(metavar="[LAB]...", help="lab ids such as 4.1; none: all")]
Name = Annotated[str, typer.Argument(metavar="LAB", help="lab id such as 4.1")]
PhaseOption = Annotated[int | None, typer.Option(help="all labs of this phase")]
Slow = Annotated[bool, typer.Option(help="also the slow checks")]


def fail(message: object) -> typer.Exit:
    out.print(f"[red]{render.escape(str(message))}[/]")
    return typer.Exit(2)


def one(name: str) -> Lab:
    try:
        return catalogue.find(name)
    except ValueError as error:
        raise fail(error) from None


def several(names: list[str] | None, phase: int | None = None) -> list[Lab]:
    try:
        if phase is not None:
            return list(catalogue.find_phase(phase).labs)
        return [catalogue.find(name) for name in names] if names else list(labs())
    except ValueError as error:
        raise fail(error) from None


# ---------------------------------------------------------------- the learner's loop


@app.command("list")
def list_labs() -> None:
    """The course: every lab with minutes, difficulty and what is done."""
    done = progress.load()
    for phase in catalogue.phases():
        if phase.labs:
            out.print(f"[bold]{phase.title}[/]")
        for lab in phase.labs:
            state = progress.state(lab, done)
            stars = "★" * lab.difficulty + "☆" * (5 - lab.difficulty)
            count = f"{len(state.passed)}/{len(state.todos)}"
            out.print(f"  {lab.id:<5} {lab.title:<38} {stars}  {lab.minutes:>4} min  {count:>6} TODOs")


@app.command()
def check(
    names: Names = None,
    phase: PhaseOption = None,
    only: Annotated[str | None, typer.Option(help="one TODO")] = None,
    slow: Slow = False,
    seed: Annotated[int, typer.Option(help="seed of the checks' inputs")] = 0,
    debug: Annotated[bool, typer.Option("--debug", help="in this process, with breakpoint(); no score")] = False,
    submission: Annotated[Path | None, typer.Option(help="a folder of lab.py files instead of your own")] = None,
    answers: Annotated[str, typer.Option(help="lab, solution, skeleton, mistake:NAME, alternative:NAME")] = "lab",
    report: Annotated[Path | None, typer.Option(help="write the canonical JSON report here")] = None,
    install: Annotated[bool, typer.Option("--install", help="install missing packages first")] = False,
) -> None:
    """Grades your lab.py. Exit code 0 when everything asked for passes."""
    from labkit import checking
    from labkit.grading.report import write_json

    chosen = several(names, phase)
    try:
        if install:
            from labkit.setup import install_for

            install_for([lab for lab in chosen if not checking.untouched(lab, checking.kinds.answers(lab))])
        if debug:
            raise typer.Exit(max((checking.debug(out, lab, only) for lab in chosen), default=0))
        options = {"only": only, "slow": slow, "seed": seed, "answers": answers}
        code, reports = checking.check_labs(out, chosen, options, submission)
    except (ValueError, OSError) as error:
        raise fail(error) from None
    if report is not None:
        write_json(report, {"reports": reports})
    raise typer.Exit(code)


@app.command()
def watch(name: Name, slow: Slow = False) -> None:
    """Grades again every time you save lab.py."""
    from labkit import checking

    lab = one(name)
    if problem := checking.missing_packages(lab):
        raise fail(problem)
    try:
        checking.watch(out, lab, slow)
    except KeyboardInterrupt:
        out.print()


@app.command()
def drill(name: Name, minutes: Annotated[float, typer.Option(min=0, help="how long the clock runs")] = 30.0) -> None:
    """From the blank file against the clock: a fresh copy of the lab, a timer, a grade at the end."""
    from labkit import checking
    from labkit.drill import drill as run

    lab = one(name)
    if problem := checking.missing_packages(lab):
        raise fail(problem)
    raise typer.Exit(run(out, lab, minutes))


@app.command("next")
def next_todo(names: Names = None) -> None:
    """The first TODO that is not done yet, and what to type; of some labs if you name them."""
    done = progress.load()
    for lab in several(names):
        state = progress.state(lab, done)
        if state.problem:
            out.print(f"{lab}: {render.escape(state.problem)}")
        elif state.open:
            region = state.open[0]
            place = f"{render.relative(str(lab.lab_file))}:{region.line}"
            out.print(f"[bold]{lab}[/]  ({len(state.passed)} of {len(state.todos)} TODOs done)\n")
            out.print(f"  [cyan]{place}[/]")
            out.print(f"  [bold]TODO {region.slug}[/]{render.escape(region.rest)}\n")
            out.print(f"  fill it in, then   {render.typed('check', lab.id)}")
            out.print(f"  stuck?             {render.typed('hint', lab.id)}")
            return
    out.print("Everything is done.")


@app.command()
def hint(
    name: Name,
    todo: Annotated[str | None, typer.Option(help="a TODO; none: the first open one")] = None,
    level: Annotated[int, typer.Option(min=1, max=3, help="1 nudges, 2 explains, 3 nearly tells")] = 1,
) -> None:
    """A hint for a TODO, in three levels."""
    from labkit.hints import read_hints

    lab = one(name)
    hints = read_hints(lab)
    still_open = [region.slug for region in progress.state(lab).open]
    if todo is None and not still_open:
        out.print(f"Every TODO of {lab.id} passes.")
        return
    slug = (todo or still_open[0]).replace("_", "-")
    if slug not in hints:
        raise fail(f"lab {lab.id} has no TODO {slug!r}; there are: {', '.join(hints)}")
    out.print(f"[bold]{slug}[/], hint {level} of {len(hints[slug])}\n")
    out.print(hints[slug][level - 1], markup=False)
    if level < len(hints[slug]):
        out.print(f"\n[dim]more: {render.typed('hint', lab.id, todo=slug, level=level + 1)}[/]")


@app.command()
def reset(name: Name) -> None:
    """Puts the untouched lab.py back. Your file is kept under another name."""
    lab = one(name)
    copy = skeleton.backup(lab.lab_file) if lab.lab_file.is_file() else None
    if copy is not None:
        lab.lab_file.unlink()
        out.print(f"your file is kept as {render.relative(str(copy))}")
    skeleton.write_lab(lab)
    out.print(f"{render.relative(str(lab.lab_file))} is as new")


@app.command()
def update(names: Names = None) -> None:
    """After a pull: carries your answers by TODO into the new skeleton."""
    for lab in several(names):
        try:
            had = {region.slug for region in progress.state(lab).todos}
            outcome, lost, copy = skeleton.update_lab(lab)
            new = [region.slug for region in progress.state(lab).todos if region.slug not in had]
        except skeleton.RegionError as error:
            raise fail(f"{render.relative(str(lab.lab_file))}: {error}") from None
        if outcome == "updated":
            kept = f"; the old file is {render.relative(str(copy))}" if copy else ""
            out.print(f"{lab}: updated{kept}")
        for slug in lost:
            out.print(f"{lab}: TODO {slug} is no more; your answer to it is in the old file")
        for slug in new if copy else ():
            out.print(f"{lab}: TODO {slug} is new, or its markers were lost; then its answer is in the old file")


@app.command()
def solution(name: Name, todo: Annotated[str | None, typer.Argument(help="one TODO; none: all")] = None) -> None:
    """Shows the reference answers."""
    from rich.syntax import Syntax

    lab = one(name)
    regions = skeleton.solution_regions(lab.solution.read_text(encoding="utf-8"))
    if todo is not None and todo not in {region.slug for region in regions}:
        raise fail(f"lab {lab.id} has no TODO {todo!r}; there are: {', '.join(r.slug for r in regions)}")
    for region in regions:
        if todo in (None, region.slug):
            out.print(f"[bold]{region.slug}[/]{render.escape(region.rest)}")
            out.print(Syntax(region.body, "python", theme="ansi_dark", background_color="default"))


@app.command("progress")
def show_progress() -> None:
    """What is done, lab by lab."""
    done = progress.load()
    total = finished = 0
    for lab in labs():
        state = progress.state(lab, done)
        total, finished = total + len(state.todos), finished + len(state.passed)
        if state.started:
            bar = "█" * len(state.passed) + "░" * len(state.open)
            points = done.get(lab.id, {})
            score = f"{points['points']}/{points['max_points']} points" if points else "not checked yet"
            out.print(f"{lab.id:<5} {lab.title:<38} {bar}  {score}")
    out.print(f"{finished} of {total} TODOs done")


@app.command()
def start() -> None:
    """The first run: shows where the course leads, grades phase 1 as it is, points at the first TODO."""
    from labkit.setup import first_run

    first_run(out)


@app.command()
def doctor() -> None:
    """Looks at this machine: Python, packages, cores, memory, data, isolation."""
    from labkit.setup import doctor as look

    raise typer.Exit(look(out))


@app.command()
def install(names: Names = None, phase: PhaseOption = None) -> None:
    """Installs the packages that labs need, in their tested versions."""
    from labkit.setup import install_for

    install_for(several(names, phase))


@app.command(rich_help_panel="For instructors")
def export(
    report: Annotated[Path, typer.Argument(help="a report written by check --report")],
    to: Annotated[str, typer.Option(help="junit or gradescope")] = "junit",
    file: Annotated[Path | None, typer.Option("-o", "--out", help="where to; none: standard output")] = None,
) -> None:
    """Turns a canonical report into JUnit XML or Gradescope's results.json."""
    import json

    from labkit.grading.report import gradescope, junit

    try:
        reports = json.loads(report.read_text(encoding="utf-8"))["reports"]
        text = {"junit": junit, "gradescope": lambda r: json.dumps(gradescope(r), indent=1) + "\n"}[to](reports)
    except KeyError as error:
        raise fail(f"cannot export to {to!r}: {error} is not known; formats are junit and gradescope") from None
    except (OSError, ValueError) as error:
        raise fail(f"{report}: {error}") from None
    if file is None:
        print(text, end="")
    else:
        write_atomically(file, text)


# ---------------------------------------------------------------- for those who change labs


MAKING = "For those who change labs"


@app.command(rich_help_panel=MAKING)
def skeletons(
    names: Names = None, check: Annotated[bool, typer.Option("--check", help="only say what has drifted")] = False
) -> None:
    """Generates lab.py, requirements.txt and the import stubs. Edited files are left alone."""
    from labkit.generate import generate

    raise typer.Exit(generate(out, several(names), check))


@app.command(rich_help_panel=MAKING)
def verify(names: Names = None, phase: PhaseOption = None) -> None:
    """Proves that the graders grade: solutions, mistakes, alternatives, trivial answers."""
    from labkit.proving import verify_labs

    proofs = verify_labs(out, several(names, phase))
    raise typer.Exit(1 if any(proof.problems for proof in proofs) else 0)


@app.command(rich_help_panel=MAKING)
def test() -> None:
    """Everything, on the references: verify, ordinary tests, and one table of what was proved."""
    from labkit.proving import test_everything

    raise typer.Exit(test_everything(out))


@app.command(rich_help_panel=MAKING)
def figures(names: Names = None) -> None:
    """Runs the solutions as their lab.toml says and writes figures/."""
    from labkit.generate import make_figures

    for lab in several(names):
        make_figures(out, lab)


@app.command(rich_help_panel=MAKING)
def bench(names: Names = None, phase: PhaseOption = None) -> None:
    """Compares speed with the peers a user would otherwise pick; prints ratios."""
    for lab in several(names, phase):
        if (lab.path / "bench.py").is_file():
            out.print(f"[bold]{lab}[/]")
            subprocess.run([sys.executable, "bench.py"], cwd=lab.path, check=True)


cli_grade.register(app, out)

if __name__ == "__main__":
    app()
