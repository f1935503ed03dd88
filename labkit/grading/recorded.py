"""What the reference gave, kept for student editions, which have no reference.

A recording holds, for every check and a few public seeds, the right outcome of each call, and for each classic mistake
its hint, its outcomes and what the check says of it. Two things differ from grading with the reference: a TODO runs
together with the learner's own other TODOs (waiting for those that are empty), and other seeds cannot be judged.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from labkit import skeleton
from labkit.catalogue import Lab
from labkit.grading import compare, mistakes, wire
from labkit.grading.checks import Check, checks, recording
from labkit.grading.engine import DRAWS
from labkit.grading.grade import Call, Known
from labkit.grading.oracle import ReferenceDraw, generator, play
from labkit.grading.verdicts import Failure, Verdict
from labkit.grading.wire import Raised

SEEDS = (0, 1, 2)


def untouched(lab: Lab) -> str:
    """The ``lab.py`` a student edition began with."""
    return _open(lab).read("lab.py").decode("utf-8")


def _open(lab: Lab) -> zipfile.ZipFile:
    file = recording(lab)
    if not file.is_file():
        raise ValueError(f"lab {lab.id} has neither a solution.py nor recorded cases in {file}")
    return zipfile.ZipFile(file)


# ---------------------------------------------------------------- reading


class Recorded:
    """The oracle of a student edition."""

    note = "Your own other TODOs run along with this one: a wrong one among them shows here too."

    def __init__(self, lab: Lab):
        self.archive = _open(lab)
        self.index = json.loads(self.archive.read("index.json"))

    @property
    def slugs(self) -> tuple[str, ...]:
        return tuple(self.index["slugs"])

    def others(self, todo: str) -> dict[str, str]:
        return {}

    def draw(self, check: Check, seed: int, attempt: int) -> RecordedDraw:
        return RecordedDraw(self, check, seed, attempt)


class RecordedDraw:
    """One recorded draw, read as far as it is needed."""

    def __init__(self, oracle: Recorded, check: Check, seed: int, attempt: int):
        self.oracle, self.seed, self.check = oracle, seed, check
        self.folder = f"{check.name}/{seed}/{attempt}"

    def _read(self, name: str) -> Any:
        return wire.unpack(self.oracle.archive.read(f"{self.folder}/{name}"))

    @cached_property
    def calls(self) -> list[dict]:
        try:
            return self._read("calls")
        except KeyError:
            seeds = self.oracle.index["seeds"]
            text = f"only the seeds {', '.join(map(str, seeds))} are recorded here, not {self.seed}"
            text = text if self.seed not in seeds else "this draw of the inputs is not among the recorded ones"
            raise Failure(Verdict.SKIPPED, text) from None

    def wanted(self, index: int, target: str, frame: bytes, device: str | None) -> Any:
        call = self.calls[index] if index < len(self.calls) else None
        if call is None or call["target"] != target or not alike(call["inputs"], sketch(wire.unpack(frame))):
            was = self.oracle.index["numpy"]
            text = f"the inputs drawn here are not the recorded ones (numpy {np.__version__} here, {was} there)"
            raise Failure(Verdict.SKIPPED, text)
        return call["wanted"]

    def mistakes(self) -> list[Known]:
        table = self.oracle.index["mistakes"]
        return [Known(name, table[name]) for name in self.oracle.index["checks"][self.check.name]]

    def outcomes(self, name: str, calls: list[Call], device: str | None) -> list:
        kept = self._read(f"mistakes/{name}")["outcomes"]
        return [call["wanted"] if same else value for call, (same, value) in zip(self.calls, kept)]

    def message(self, name: str) -> str | None:
        return self._read(f"mistakes/{name}")["message"]


# ---------------------------------------------------------------- writing


def record(lab: Lab, seeds: tuple[int, ...] = SEEDS) -> bytes:
    """The recording of a lab, as a zip archive. ValueError when the reference fails a check of its own lab."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:

        def write(name: str, data: str | bytes) -> None:
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)  # without a date: the same bytes again

        write("index.json", json.dumps(_index(lab, seeds), indent=1))
        write("lab.py", skeleton.fresh(lab))
        for check in checks(lab):
            for seed in seeds:
                for name, value in _draws(lab, check, seed):
                    write(f"{check.name}/{seed}/{name}", wire.pack(value))
    return stream.getvalue()


def _index(lab: Lab, seeds: tuple[int, ...]) -> dict:
    by_check = {check.name: [m.name for m in ReferenceDraw(lab, check).mistakes()] for check in checks(lab)}
    return {
        "slugs": list(mistakes.reference_bodies(lab)),
        "seeds": list(seeds),
        "numpy": np.__version__,
        "mistakes": {mistake.name: mistake.hint for mistake in mistakes.variants(lab).mistakes},
        "checks": by_check,
    }


def _draws(lab: Lab, check: Check, seed: int) -> Iterator[tuple[str, Any]]:
    """Every draw up to and with the first that is not weak: the right calls, then each mistake's."""
    reference = mistakes.reference_module(lab)
    for attempt in range(DRAWS):
        right, message, weak = play(lab, check, reference, generator(seed, check, attempt))
        if message is not None:
            raise ValueError(f"lab {lab.id}: the reference fails {check.name} with seed {seed}: {message}")
        wanted = [_outcome(call) for call in right.calls]
        inputs = [sketch(wire.unpack(call.inputs)) for call in right.calls]
        targets = [call.target for call in right.calls]
        rows = zip(targets, inputs, wanted)
        yield f"{attempt}/calls", [{"target": t, "inputs": i, "wanted": w} for t, i, w in rows]
        packed = [wire.pack(value) for value in wanted]
        for mistake in ReferenceDraw(lab, check).mistakes():
            module = mistakes.mistaken_module(lab, mistake.name)
            wrong, said, unsure = play(lab, check, module, generator(seed, check, attempt))
            outcomes = []
            for index, value in enumerate(map(_outcome, wrong.calls)):
                same = index < len(packed) and wire.pack(value) == packed[index]
                outcomes.append([same, None if same else value])
            yield f"{attempt}/mistakes/{mistake.name}", {"outcomes": outcomes, "message": None if unsure else said}
        if not weak:
            return


def _outcome(call: Call) -> Any:
    """What a call gave, without the places in files that an exception brings along."""
    return replace(call.got, frames=()) if isinstance(call.got, Raised) else call.got


# ---------------------------------------------------------------- are these the recorded inputs?


def sketch(inputs: Any) -> dict:
    """Tells inputs apart without keeping them: exact but for floating-point numbers, of which mean and size are kept.

    So the last bits, which differ between processors, do not matter.
    """
    exact = hashlib.sha256()
    floats: list[float] = []

    def walk(value: Any) -> None:
        if isinstance(value, np.ndarray | np.generic) or compare.is_tensor(value):
            array = compare.to_numpy(value)
            exact.update(f"{compare.type_name(value)} {value.dtype} {array.shape}".encode())
            if array.dtype.kind in "fc":
                finite = array[np.isfinite(array)]
                exact.update(np.isfinite(array).tobytes())
                floats.extend((_mean(finite.real), _mean(np.abs(finite))))
            else:
                exact.update(array.tobytes())
        elif isinstance(value, float):
            walk(np.float64(value))
        elif isinstance(value, dict):
            exact.update(f"dict {len(value)}".encode())
            for pair in value.items():
                walk(pair)
        elif isinstance(value, list | tuple):
            exact.update(f"{type(value).__name__} {len(value)}".encode())
            for item in value:
                walk(item)
        elif isinstance(value, set | frozenset):
            walk(sorted(map(repr, value)))
        elif isinstance(value, wire.Record):
            walk((value.type, value.fields))
        else:
            exact.update(f"{type(value).__name__} {value!r}".encode())

    walk(inputs)
    return {"exact": exact.hexdigest()[:16], "floats": np.array(floats, dtype=np.float64)}


def _mean(array: np.ndarray) -> float:
    return float(array.mean()) if array.size else 0.0


def alike(a: dict, b: dict) -> bool:
    """Whether two sketches are of the same inputs."""
    if a["exact"] != b["exact"]:
        return False
    sizes = np.repeat(a["floats"][1::2], 2)
    return bool((np.abs(a["floats"] - b["floats"]) <= 1e-5 * sizes + 1e-300).all())
