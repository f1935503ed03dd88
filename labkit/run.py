"""What every lab's `main()` shares: flags and presets, seeds, progress, tables, figures, results.json.

Importing this module costs a few milliseconds: numpy, torch, matplotlib and rich are imported by the function that
needs them, because graded checks load a lab afresh every time.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


_NUMBER = re.compile(r"-|[-+]?[\d.,]*(\d(e[-+]\d+)?|nan|inf)( ?[%×x]| [a-zµ/]{1,5})?")  # "4.05", "3.2x", "12 ms"


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A narrow plain-text table; number columns are right aligned and share their decimals."""
    rows = [list(row) for row in rows]
    for row in rows:
        if len(row) != len(headers):
            raise ValueError(f"rows: expected {len(headers)} cells for the headers {list(headers)}, got {row}")
    columns = []
    for i, header in enumerate(headers):
        cells = _format_column([row[i] for row in rows])
        right = bool(cells) and all(map(_NUMBER.fullmatch, cells))
        width = max(map(_width, [header, *cells]))
        columns.append([_pad(cell, width, right) for cell in [header, "-" * width, *cells]])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def _format_column(values: list[Any]) -> list[str]:
    values = [v.item() if hasattr(v, "item") else v for v in values]  # numpy and torch scalars
    sizes = [abs(v) for v in values if isinstance(v, float) and math.isfinite(v) and v != 0]
    decimals = min(3, max(0, 3 - math.floor(math.log10(max(sizes))))) if sizes else 1
    tiny = bool(sizes) and min(sizes) < 10**-decimals

    def text(value: Any) -> str:
        if value is None or isinstance(value, bool):
            return {None: "-", True: "yes", False: "no"}[value]
        if isinstance(value, int):
            return f"{value:,}"
        if isinstance(value, float):
            return f"{value:.4g}" if tiny and abs(value) < 1000 else f"{value:,.{decimals}f}"
        return re.sub(r"[\r\n\t]", " ", str(value))

    return [text(value) for value in values]


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space


def _width(text: str) -> int:
    """Terminal columns: Chinese characters and emoji take two, combining accents none."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


# ---------------------------------------------------------------- files


def figure(nrows: int = 1, ncols: int = 1, width: float = 7.0, height: float = 4.2) -> tuple[Any, Any]:
    """`plt.subplots` in the house style; width and height in inches (7 inches are 1050 pixels in the saved PNG)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.style.use(["default", Path(__file__).with_name("house.mplstyle")])
    return pyplot.subplots(nrows, ncols, figsize=(width, height))


def save_figure(args: argparse.Namespace, fig: Any, name: str) -> Path:
    """Write `fig` as a PNG of 150 dots per inch into --out; the same figure gives the same bytes every time."""
    from matplotlib import pyplot
    from PIL import Image

    picture, small = io.BytesIO(), io.BytesIO()
    fig.savefig(picture, format="png", dpi=150)
    pyplot.close(fig)
    # 256 colours instead of 16 million: a third of the bytes, and nothing the eye can see.
    image = Image.open(picture).convert("RGB")
    image = image.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    image.save(small, format="PNG", optimize=True, dpi=(150, 150))
    path = args.out / (name if name.endswith(".png") else name + ".png")
    _write_atomically(path, small.getvalue())
    inside = path.resolve().is_relative_to(args.lab_folder)
    print(f"figure  {path.resolve().relative_to(args.lab_folder).as_posix() if inside else path.name}")
    return path


def save_results(args: argparse.Namespace, results: dict[str, Any], name: str = "results") -> Path:
    """Write `<out>/<name>.json`: the numbers, rounded to 6 digits, and what they were measured with."""
    import platform

    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    versions = {"python": platform.python_version()}
    versions |= {m.__name__: str(m.__version__) for m in (numpy, torch) if m is not None}
    record = {
        "command": args.command,
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.perf_counter() - args.started, 1),
        "device": _describe_device(getattr(args, "device", "cpu")),
        "threads": torch.get_num_threads() if torch else int(os.environ.get("OMP_NUM_THREADS") or _cores()),
        "versions": versions | getattr(args, "data_versions", {}),
        "results": _plain(results, "results"),
    }
    path = args.out / f"{name}.json"
    _write_atomically(path, (_to_json(record) + "\n").encode("utf-8"))
    return path


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _describe_device(device: str) -> dict[str, Any]:
    import platform

    info = Path("/proc/cpuinfo")  # Linux; elsewhere platform knows the name
    name = re.search(r"^model name\s*: (.+)", info.read_text(), re.M) if info.exists() else None
    found = {"cpu": name[1] if name else platform.processor() or platform.machine(), "cores": _cores()}
    if device != "cpu":
        found["gpu"] = sys.modules["torch"].cuda.get_device_name() if device == "cuda" else "Apple GPU"
    return found


def _plain(value: Any, where: str) -> Any:
    """`value` as JSON types; `where` names the place in error messages."""
    if hasattr(value, "tolist"):  # numpy and torch, scalars and arrays
        value = value.tolist()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value}: results.json holds finite numbers only")
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where}: keys must be str, got {key!r} ({type(key).__name__})")
        return {key: _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise TypeError(f"{where}: expected numbers, strings, lists, dicts or arrays, got {type(value).__name__}")


def _to_json(value: Any, indent: str = "") -> str:
    """JSON with one line per dict entry and lists kept on one line, so that a loss curve does not fill the page."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value, ensure_ascii=False)
    inner = indent + "  "
    lines = [f"{inner}{json.dumps(key, ensure_ascii=False)}: {_to_json(item, inner)}" for key, item in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def _write_atomically(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


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
