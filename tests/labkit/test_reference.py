"""Labs import labs by name: the reference pickles, spawns and is one object everywhere."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from labkit import catalogue, generate, reference

ROOT = Path(__file__).resolve().parents[2]
LABS = catalogue.labs()

SPAWN = """
import multiprocessing
from labkit.reference import pytorch_essentials as lab

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        value = pool.apply(lab.Value, (2.0,))
    print(type(value) is lab.Value, value.data)
"""


def test_instances_pickle_by_their_stable_name():
    from labkit.reference import pytorch_essentials as lab

    value = pickle.loads(pickle.dumps(lab.Value(3.0)))
    assert type(value) is lab.Value and lab.Value.__module__ == "labkit.reference.pytorch_essentials"


def test_a_spawned_process_can_use_them(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SPAWN)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "True 2.0", done.stderr


def test_helpers_beside_a_solution_are_its_submodules():
    from labkit.reference.tokenization_from_scratch import tokenizer_report

    assert tokenizer_report.__name__ == "labkit.reference.tokenization_from_scratch.tokenizer_report"


def test_an_unknown_lab_is_named_with_those_there_are():
    with pytest.raises(AttributeError, match=r"no_such_lab.*tfidf_search"):
        reference.no_such_lab  # noqa: B018


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.id)
def test_stubs_are_current(lab):
    stub = reference.FOLDER / f"{lab.module}.pyi"
    assert stub.read_text(encoding="utf-8") == generate.stub_of(lab), "run `make skeletons`"


def test_modules_have_different_names():
    names = [lab.module for lab in LABS]
    assert len(names) == len(set(names))
