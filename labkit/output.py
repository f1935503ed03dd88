"""What a lab leaves behind: tables, figures in the house style, results.json with what it was measured on."""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import re
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from labkit.files import write_atomically

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
    write_atomically(path, small.getvalue())
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
        "cpu_seconds": round(sum(os.times()[:4]), 1),  # of all its processes; other work on the machine adds nothing
        "device": _describe_device(getattr(args, "device", "cpu")),
        "threads": torch.get_num_threads() if torch else int(os.environ.get("OMP_NUM_THREADS") or _cores()),
        "versions": versions | getattr(args, "data_versions", {}),
        "results": _plain(results, "results"),
    }
    path = args.out / f"{name}.json"
    write_atomically(path, (_to_json(record) + "\n").encode("utf-8"))
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
