"""What every lab's `main()` shares: flags and presets, seeds, progress, tables, figures, results.json.

Importing this module costs a few milliseconds: numpy, torch, matplotlib and rich are imported by the function that
needs them, because graded checks load a lab afresh every time.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.output import figure, save_figure, save_results, table

__all__ = [
    "arguments",
    "figure",
    "load_data",
    "main",
    "milliseconds",
    "progress",
    "save_figure",
    "save_results",
    "table",
]

if TYPE_CHECKING:
    from labkit.data import Corpus

# ---------------------------------------------------------------- command line


def arguments(
    description: str | None,
    presets: dict[str, dict[str, Any]],
    argv: Sequence[str] | None = None,
    *,
    data: str | None = None,
    device: bool = False,
    extra: Callable[[argparse.ArgumentParser], Any] | None = None,
) -> argparse.Namespace:
    """Parse a lab's command line, seed the random generators, and return everything as one namespace.

    Each key of `presets[...]` is a flag typed by its value; a flag the user gives wins over the preset. Added besides:
    `lab_folder` (Path), `started` (perf_counter) and `command` (what a user would type, without absolute paths).
    """
    started = time.perf_counter()
    caller = sys._getframe(1)
    script = Path(caller.f_globals.get("__file__") or caller.f_code.co_filename).resolve()
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog=script.name,
        description=(description or "").strip().split("\n\n")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    default = "cpu" if "cpu" in presets else next(iter(presets))
    parser.add_argument("--preset", choices=list(presets), default=default, help=f"default {default}")
    _add_preset_flags(parser, presets)
    parser.add_argument("--seed", type=_seed, default=0, help="default 0")
    out_help = "where figures and results.json go, default out/ beside the script"
    parser.add_argument("--out", type=Path, default=script.parent / "out", metavar="FOLDER", help=out_help)
    if data is not None:
        parser.add_argument("--data", default=data, metavar="NAME", help=f"corpus, default {data}")
    if device:
        device_help = "default auto: cuda where there is one, else cpu"
        parser.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto", help=device_help)
    if extra is not None:
        extra(parser)
    args = parser.parse_args(argv)
    for key, value in presets[args.preset].items():
        if not hasattr(args, key):
            setattr(args, key, list(value) if isinstance(value, (list, tuple)) else value)
    if device:
        args.device = _resolve_device(args.device, parser)
    _set_seeds(args.seed)
    args.lab_folder, args.started = script.parent, started
    args.command = _command(script.name, argv)
    return args


def _add_preset_flags(parser: argparse.ArgumentParser, presets: dict[str, dict[str, Any]]) -> None:
    keys = list(next(iter(presets.values())))
    for name, values in presets.items():
        if set(values) != set(keys):
            raise ValueError(f"presets must share their keys: {name!r} has {sorted(values)}, expected {sorted(keys)}")
    for key in keys:
        values = {name: preset[key] for name, preset in presets.items()}
        shown = {name: " ".join(map(str, v)) if isinstance(v, (list, tuple)) else str(v) for name, v in values.items()}
        text = ", ".join(f"{name} {v}" for name, v in shown.items())
        if len(set(shown.values())) == 1:
            text = f"default {next(iter(shown.values()))}"
        samples = [v for v in values.values() if v is not None]
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": text.replace("%", "%%")}
        if samples and isinstance(samples[0], bool):
            options["action"] = argparse.BooleanOptionalAction
        else:
            if samples and isinstance(samples[0], (list, tuple)):
                options["nargs"] = "+"
                samples = [item for v in samples for item in v]
            kinds = {type(v) for v in samples} or {str}
            options["type"] = float if kinds == {int, float} else kinds.pop()
            options["metavar"] = options["type"].__name__.upper()
        parser.add_argument("--" + key.replace("_", "-"), dest=key, **options)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 2**32 - 1, got {text!r}")
    return int(text)


def _resolve_device(wanted: str, parser: argparse.ArgumentParser) -> str:
    try:
        import torch
    except ImportError:
        parser.error("this lab needs torch: pip install torch")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: this torch sees no CUDA GPU; use --device cpu")
    if wanted == "mps" and not torch.backends.mps.is_available():
        parser.error("--device mps: this torch sees no Apple GPU; use --device cpu")
    return wanted


def _set_seeds(seed: int) -> None:
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def _command(script: str, argv: list[str]) -> str:
    """The command for results.json: --out left out (it changes no number), absolute paths cut to their last part."""
    import shlex

    words = ["python", script]
    rest = iter(argv)
    for word in rest:
        if word == "--out":
            next(rest, None)
        elif not word.startswith("--out="):
            flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
            words.append(flag + equals + (Path(value).name if Path(value).is_absolute() else value))
    return shlex.join(words)


def load_data(args: argparse.Namespace) -> Corpus:
    """The corpus named by --data (a `labkit.data.Corpus`); data that cannot be had ends the program in one line."""
    from labkit import data

    try:
        corpus = data.load(args.data)
    except data.DataUnavailable as problem:
        raise SystemExit(str(problem)) from None
    args.data_versions = dict(getattr(corpus, "versions", None) or {})
    return corpus


# ---------------------------------------------------------------- terminal

_bars: Any = None  # the rich display in use, so that nested loops share it


def progress(iterable: Iterable, description: str, total: int | None = None) -> Iterator:
    """Iterate with a bar, speed and remaining time on stderr; silent when stderr is not a terminal."""
    global _bars
    if sys.stderr is None or not sys.stderr.isatty():
        yield from iterable
        return
    from rich import progress as rich_progress
    from rich.console import Console

    class Speed(rich_progress.ProgressColumn):
        def render(self, task):
            return rich_progress.TaskProgressColumn.render_speed(task.finished_speed or task.speed)

    outermost = _bars is None
    if outermost:
        # Printed lines pass above the bar only if stdout is the terminal too: otherwise `> output.txt` would miss them.
        _bars = rich_progress.Progress(
            rich_progress.TextColumn("{task.description}", markup=False),
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            Speed(),
            rich_progress.TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )
        _bars.start()
    bars = _bars
    if total is None and hasattr(iterable, "__len__"):
        total = len(iterable)
    task = bars.add_task(description, total=total)
    try:
        for item in iterable:
            yield item
            bars.advance(task)
    finally:
        bars.remove_task(task)
        if outermost:
            bars.stop()
            _bars = None


def milliseconds(work: Callable[[], Any], device: str = "cpu") -> float:
    """How long one call takes; on "cuda" all the work that it starts, and none that was started before."""

    def wait() -> None:
        if device == "cuda":
            import torch

            torch.cuda.synchronize()

    wait()
    began = time.perf_counter()
    work()
    wait()
    return 1e3 * (time.perf_counter() - began)


# ---------------------------------------------------------------- entry point


def main(function: Callable[[], Any]) -> None:
    """Run a lab's main(); an unfinished lab.py answers with one line per missing TODO instead of a traceback."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without Unicode must not end the program
    lab = Path(sys.modules["__main__"].__file__)
    missing = [region for region in _regions(lab) if region.untouched]
    if missing and not {"-h", "--help"} & set(sys.argv[1:]):
        _stop_at_todos(lab, [(region.line, region.slug, region.summary) for region in missing])
    try:
        function()
        sys.stdout.flush()
    except NotImplementedError as problem:
        slug = str(problem).removeprefix("TODO ")
        if slug == str(problem):
            raise
        region = next((region for region in _regions(lab) if region.slug == slug), None)
        _stop_at_todos(lab, [(region.line if region else 1, slug, region.summary if region else "not finished")])
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # `python solution.py | head`; Python would complain once more when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _regions(lab: Path) -> list[Any]:
    from labkit import skeleton

    try:
        return skeleton.todo_regions(lab.read_text(encoding="utf-8"))
    except skeleton.RegionError as problem:
        print(f"{lab.name}: {problem}")
        sys.exit(1)


def _stop_at_todos(lab: Path, missing: list[tuple[int, str, str]]) -> None:
    for line, slug, summary in missing:
        print(f"{lab.name}:{line}  TODO {slug}: {summary}")
    import tomllib

    about = lab.with_name("lab.toml")
    lab_id = tomllib.loads(about.read_text(encoding="utf-8"))["id"] if about.exists() else "ID"
    print(f"Fill in the first one, then type: labkit check {lab_id}")
    sys.exit(1)
