"""The instructor's commands: ``grade``, ``release``, ``pack-gradescope``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

TIERS = "auto: the strongest that holds here; namespaces, container; check: no isolation, for code you trust"


def register(app: typer.Typer, out: Console) -> None:
    """Adds the commands to the command line."""

    def fail(message: object) -> typer.Exit:
        out.print(str(message), style="red", markup=False)
        return typer.Exit(2)

    @app.command(rich_help_panel="For instructors")
    def grade(
        submissions: Annotated[Path, typer.Argument(help="a folder with a folder, .zip or .tar(.gz) per person")],
        jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, help="submissions graded at the same time")] = 2,
        to: Annotated[Path, typer.Option("--out", help="where the grades go")] = Path("out/grades"),
        resume: Annotated[bool, typer.Option("--resume", help="go on with what is there")] = False,
        only: Annotated[list[str] | None, typer.Option(help="only this submission; may be repeated")] = None,
        lab: Annotated[list[str] | None, typer.Option(help="only this lab; may be repeated")] = None,
        seed: Annotated[int | None, typer.Option(min=0, help="seed of all inputs; none: a fresh one")] = None,
        timeout: Annotated[float | None, typer.Option(min=0.01, help="factor on the time limits of checks")] = None,
        tier: Annotated[str, typer.Option(help=TIERS)] = "auto",
        single: Annotated[bool, typer.Option("--single", help="the argument is itself one submission")] = False,
    ) -> None:
        """Grades other people's code in isolation. Exit code 0 when the grading worked, whatever the scores."""
        from labkit.grading.batch import Options, grade_batch

        options = Options(to, jobs, resume, tuple(only or ()), tuple(lab or ()), seed, timeout, tier, single)
        try:
            code = grade_batch(out, submissions, options)
        except (ValueError, OSError) as error:
            raise fail(error) from None
        raise typer.Exit(code)

    @app.command(rich_help_panel="For instructors")
    def release(
        folder: Annotated[Path, typer.Argument(help="where the edition goes; must be empty or new")],
        labs: Annotated[str, typer.Option(help="which labs, as in 4.1-4.4,1.1")],
    ) -> None:
        """Writes a student edition: no solutions, no mistakes, no walkthroughs; checks use recorded cases."""
        from labkit.grading import release as editions

        try:
            editions.release(folder, editions.chosen(labs), lambda line: out.print(line, markup=False))
        except (ValueError, OSError) as error:
            raise fail(error) from None
        out.print(f"the student edition is in {folder}", markup=False)

    @app.command("pack-gradescope", rich_help_panel="For instructors")
    def pack_gradescope(
        labs: Annotated[list[str], typer.Argument(metavar="LAB...", help="lab ids such as 4.1")],
        file: Annotated[Path, typer.Option("-o", "--out", help="the zip to write")] = Path("autograder.zip"),
        tier: Annotated[str, typer.Option(help="container (Gradescope's hosts) or namespaces")] = "container",
    ) -> None:
        """Packs an autograder to upload to Gradescope."""
        from labkit import catalogue
        from labkit.grading.packing import pack

        try:
            pack(file, [catalogue.find(name) for name in labs], tier)
        except (ValueError, OSError) as error:
            raise fail(error) from None
        out.print(f"{file} is written", markup=False)
