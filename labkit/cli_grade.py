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

    @app.command()
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
