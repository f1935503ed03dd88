"""Stands in a student edition for the instructor's commands: takes away those that need the reference."""

from __future__ import annotations

import typer
from rich.console import Console

NEED_THE_REFERENCE = {"bench", "figures", "skeletons", "solution", "start", "test", "verify"}


def register(app: typer.Typer, out: Console) -> None:
    """Leaves on the command line what a student edition can do."""
    app.registered_commands = [
        command
        for command in app.registered_commands
        if (command.name or command.callback.__name__) not in NEED_THE_REFERENCE
    ]
