"""The proof: a training process is killed with SIGKILL again and again, and resumed; nothing may be different.

python kill_and_resume.py solution.py --kills 20        (lab.py: your own code)

Every victim is a forked copy of this process, which has imported torch and computed nothing yet. It dies by signal 9:
- at the n-th line of the lab's file that it runs, wherever that is,
- at the n-th line inside save_checkpoint,
- in the middle of writing a file: the first half of the bytes is there,
- or from outside, after a time nobody chose carefully.
"""

from __future__ import annotations

import argparse
import builtins
import contextlib
import hashlib
import importlib.util
import io
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch._dynamo  # torch.optim would import it, in every victim anew

sys.path.insert(0, str(Path(__file__).parent))
from window_lm import MarkovSource, TokenBatches, WindowLM

EVERY = 3  # updates between two checkpoints
PER_KILL = 6  # so many updates in the whole run for each kill


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("lab", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not hasattr(os, "fork"):
        sys.exit("this experiment needs fork, which Windows does not have")
    torch.set_num_threads(1)
    lab = load(args.lab.resolve())
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(experiment(lab, Path(folder), args.kills, np.random.default_rng(args.seed))))


def load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("victim", file)
    lab = sys.modules["victim"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lab)
    return lab


def experiment(lab: ModuleType, folder: Path, kills: int, rng: np.random.Generator) -> dict[str, Any]:
    """One run left in peace, one killed `kills` times; both leave a log and a last checkpoint, which are compared."""
    peace, war = folder / "peace", folder / "war"
    peace.mkdir()
    war.mkdir()
    updates = PER_KILL * kills
    counted = folder / "lines"
    run_victim(lambda: count_lines(lab, counted, lambda: train(lab, peace, updates)))
    lines, in_save = map(int, counted.read_text().split())
    saves = updates // EVERY
    deaths, inside_a_save, damaged, left = [], 0, 0, None
    for kind, n in moments(rng, kills, lines, in_save // saves):
        status = run_victim(
            lambda kind=kind, n=n: die(lab, kind, n, lambda: train(lab, war, updates)), outside=(kind, n)
        )
        deaths.append({"kind": kind, "killed": os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL})
        left, seen = stamp(war / "last.pt.tmp"), left
        caught = left is not None and left != seen
        inside_a_save += caught
        damaged += caught and not lab.is_intact(war / "last.pt.tmp")
    status = run_victim(lambda: train(lab, war, updates))
    expected, found = (dict(read_log(f / "log")) for f in (peace, war))
    every_line = read_log(war / "log")
    return {
        "kills": sum(death["killed"] for death in deaths),
        "inside_a_save": inside_a_save,
        "half_written_files": damaged,
        "updates": len(expected),
        "updates_done_again": len(every_line) - len(found),
        "finished": os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0,
        "different_losses": sum(expected.get(step) != loss for step, loss in every_line) + len(expected) - len(found),
        "same_end": fingerprint(lab, peace) == fingerprint(lab, war),
    }


def stamp(file: Path) -> int | None:
    """Tells one writing of a file from another; None without a file. A temporary file means death inside a save."""
    return file.stat().st_mtime_ns if file.exists() else None


def moments(rng: np.random.Generator, kills: int, lines: int, save_lines: int) -> list[tuple[str, float]]:
    """When to die, so that `kills` deaths are spread over the whole run; those from outside come last."""
    outside, half, in_save = max(1, kills // 10), max(1, kills // 10), max(1, kills // 5)
    anywhere = kills - outside - half - in_save
    found = [("line", float(rng.integers(1, max(2, 3 * lines // (2 * kills))))) for _ in range(anywhere)]
    found += [("save", float(rng.integers(1, 2 * save_lines))) for _ in range(in_save)]
    found += [("half", float(rng.integers(1, 3))) for _ in range(half)]
    found = [found[i] for i in rng.permutation(len(found))]
    return found + [("outside", float(rng.uniform(0.02, 0.2))) for _ in range(outside)]


# ---------------------------------------------------------------- the victim


def new_trainer(lab: ModuleType, updates: int) -> Any:
    """A small model with dropout, and its trainer: the same at every call."""
    random.seed(0)  # a fork has its own: Python sees to that
    np.random.seed(0)
    torch.manual_seed(0)
    source = MarkovSource()
    model = WindowLM(source.vocab_size, d_model=16, hidden=32, dropout=0.1)
    return lab.Trainer(
        model,
        lab.AdamW(model.parameters()),
        TokenBatches(torch.from_numpy(source.write(4_000, seed=1)), batch=7, length=16),
        lambda step: lab.learning_rate(step, peak=1e-2, warmup=10, total=updates),
        accumulation=2,
        guard=lab.SpikeGuard(factor=1.5, window=10, patience=50),
    )


def train(lab: ModuleType, folder: Path, updates: int) -> None:
    """Trains; goes on from the last checkpoint if there is one. Every loss goes to the log at once."""
    trainer, path = new_trainer(lab, updates), folder / "last.pt"
    with contextlib.suppress(FileNotFoundError):  # killed before the first checkpoint
        trainer.load_state_dict(lab.load_checkpoint(path))
    log = os.open(folder / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for update in trainer.train(updates, path, EVERY):
        os.write(log, f"{update.step} {update.loss.hex()} {update.norm.hex()} {update.accepted}\n".encode())


def read_log(file: Path) -> list[tuple[int, str]]:
    lines = [line.partition(" ") for line in file.read_text().splitlines()]
    return [(int(step), rest) for step, _, rest in lines]


def fingerprint(lab: ModuleType, folder: Path) -> str:
    """A digest of the weights, averages and random states that the last checkpoint holds, order of keys aside."""

    def walk(value: Any, digest: Any) -> None:
        if isinstance(value, dict):
            for key in sorted(value, key=str):
                digest.update(str(key).encode())
                walk(value[key], digest)
        elif isinstance(value, (list, tuple)):
            for item in value:
                walk(item, digest)
        else:
            digest.update(value.numpy().tobytes() if isinstance(value, torch.Tensor) else repr(value).encode())

    digest = hashlib.sha256()
    walk(lab.load_checkpoint(folder / "last.pt"), digest)
    return digest.hexdigest()


# ---------------------------------------------------------------- killing


def run_victim(task: Callable[[], None], outside: tuple[str, float] = ("", 0.0)) -> int:
    """Forks; the child does the task. -> how it ended, as os.waitpid says it."""
    child = os.fork()
    if child == 0:
        try:
            task()
            if outside[0] == "outside":
                signal.pause()  # it was faster than its killer
            os._exit(0)
        except BaseException as problem:
            print(f"{type(problem).__name__}: {problem}", file=sys.stderr, flush=True)
            os._exit(1)
    if outside[0] == "outside":
        time.sleep(outside[1])
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def watch(lab: ModuleType, at_line: Callable[[bool], None]) -> None:
    """From now on, calls at_line before every line of the lab's file; its argument: is that in save_checkpoint?"""

    def local(frame, event, _):
        if event == "line":
            at_line(frame.f_code.co_name == "save_checkpoint")
        return local

    sys.settrace(lambda frame, event, _: local if frame.f_code.co_filename == lab.__file__ else None)


def count_lines(lab: ModuleType, result: Path, task: Callable[[], None]) -> None:
    seen = [0, 0]

    def at_line(in_save: bool) -> None:
        seen[0] += 1
        seen[1] += in_save

    watch(lab, at_line)
    task()
    sys.settrace(None)
    result.write_text(f"{seen[0]} {seen[1]}")


def die(lab: ModuleType, kind: str, n: float, task: Callable[[], None]) -> None:
    """Does the task, and dies on the way."""
    left = int(n)

    def countdown() -> bool:
        nonlocal left
        left -= 1
        return left == 0

    def at_line(in_save: bool) -> None:
        if (in_save or kind == "line") and countdown():
            os.kill(os.getpid(), signal.SIGKILL)

    def writes_half(file: Any, mode: str = "r", *more: Any, **options: Any) -> Any:
        stream = real_open(file, mode, *more, **options)
        if "w" in mode and "b" in mode and countdown():
            whole = stream.write

            def write(blob: Any) -> int:
                whole(bytes(blob)[: len(blob) // 2])
                stream.flush()
                os.kill(os.getpid(), signal.SIGKILL)

            return _Writer(stream, write)
        return stream

    real_open = io.open
    if kind == "half":
        builtins.open = io.open = writes_half
    elif kind != "outside":
        watch(lab, at_line)
    task()


class _Writer:
    """A file whose `write` is another."""

    def __init__(self, stream: Any, write: Callable[[Any], int]) -> None:
        self._stream, self.write = stream, write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


if __name__ == "__main__":
    main()
