"""Isolation for code by people one does not trust: two tiers, each proved before it is used.

PUBLISHED INTERFACE, body in progress:

    tiers() -> ("namespaces", "container")                    the stronger first
    limits(tier, *, needs=(), memory=2 GiB, disk=256 MiB, processes=64, cpu=600, without=()) -> session.Limits
    prove(tier, *, secrets=()) -> list[Proof]                 starts a template, tries to break each restriction
    refusal(tier, proofs) -> str | None                       one clear text when grading must refuse, else None
    best(*, secrets=()) -> str                                namespaces if proved, else container; raises Refused
    needs(labs) -> list[Path]                                 the solution files of what these labs use

`secrets` are existing paths (submissions folder, results folder) that the code must not be able to read; tests/, every
solution, and home are always among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from labkit.catalogue import Lab
from labkit.grading.session import Limits


class Refused(RuntimeError):
    """No tier holds on this machine: strangers' code is not run. The text says what to do."""


@dataclass(frozen=True)
class Proof:
    """One attempt to break out. ``mandatory`` ones must be blocked, or grading refuses."""

    name: str
    blocked: bool
    mandatory: bool
    detail: str = ""


def tiers() -> tuple[str, ...]:
    return ("namespaces", "container")


def needs(labs: Iterable[Lab]) -> list[Path]:
    raise NotImplementedError


def limits(
    tier: str,
    *,
    needs: Sequence[Path] = (),
    memory: int = 2 * 2**30,
    disk: int = 256 * 2**20,
    processes: int = 64,
    cpu: int = 600,
    without: Sequence[str] = (),
) -> Limits:
    raise NotImplementedError


def prove(tier: str, *, secrets: Sequence[Path] = ()) -> list[Proof]:
    raise NotImplementedError


def refusal(tier: str, proofs: Sequence[Proof]) -> str | None:
    raise NotImplementedError


def best(*, secrets: Sequence[Path] = ()) -> str:
    raise NotImplementedError
