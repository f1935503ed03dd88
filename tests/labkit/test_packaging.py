"""pyproject.toml says of packages what the labs say."""

import tomllib

import pytest

from labkit import catalogue

PROJECT = tomllib.loads((catalogue.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PHASES = {lab.phase.number: lab.phase for lab in catalogue.labs()}


@pytest.mark.parametrize("number", PHASES)
def test_a_phases_extra_holds_what_its_labs_need(number):
    needed = {package for lab in catalogue.labs() if lab.phase.number == number for package in lab.packages}
    extra = PROJECT["optional-dependencies"].get(f"phase{number}", [])
    assert {package.split(">=")[0] for package in extra} == needed


def test_every_package_is_pinned():
    pins = (catalogue.ROOT / "constraints.txt").read_text(encoding="utf-8").lower().splitlines()
    names = {pin.split("==")[0] for pin in pins}
    extras = [name for listed in PROJECT["optional-dependencies"].values() for name in listed]
    wanted = {package.split(">=")[0].lower() for package in [*PROJECT["dependencies"], *extras]}
    assert {name for name in wanted if not name.startswith("labkit[")} <= names
    assert pins == sorted(pins)
