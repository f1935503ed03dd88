"""The CPU presets take what they promise: five minutes on two cores, by the processor time of the recorded runs."""

import json

import pytest

from labkit import catalogue

SECONDS = 300
RECORDED = [lab for lab in catalogue.labs() if lab.figures and "--preset cpu" in lab.figures[0]]


@pytest.mark.parametrize("lab", RECORDED, ids=lambda lab: lab.id)
def test_the_recorded_run_fits_into_five_minutes(lab):
    """Of one core, or of two where it uses them. Other work on the machine can only make a run look dearer."""
    record = json.loads((lab.path / "figures" / "results.json").read_text(encoding="utf-8"))
    assert "--preset cpu" in record["command"]
    divided = any('"workers": 2' in file.read_text(encoding="utf-8") for file in lab.path.glob("*.py"))
    cores = 2 if divided or record["threads"] > 1 else 1
    assert record.get("cpu_seconds", record["seconds"]) <= SECONDS * cores  # some were recorded by the clock alone
