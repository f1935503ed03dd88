"""Proves that a lab grades what it says it grades, by grading answers whose score is known.

For every lab: the solution earns everything and the untouched lab nothing; every check depends on its TODO; every
mistake is caught where it says and named; every alternative passes; trivial answers earn no TODO.
"""

from __future__ import annotations

import ast
import contextlib
import re
import time
from dataclasses import dataclass, field

from labkit import skeleton
from labkit.catalogue import Lab
from labkit.grading import answers as kinds
from labkit.grading import mistakes
from labkit.grading.checks import Check, checks, drivers
from labkit.grading.engine import DRAWS, Engine
from labkit.grading.oracle import generator, run_module_check
from labkit.grading.verdicts import Result, Verdict, WeakDraw
from labkit.hints import read_hints
from labkit.requirements import requirements

LEAST_MISTAKES = 5


@dataclass
class Proof:
    """What verifying one lab found: ``problems`` is empty when the lab is sound."""

    lab: Lab
    problems: list[str] = field(default_factory=list)
    checks: int = 0
    todos: int = 0
    mistakes: int = 0
    alternatives: int = 0
    runs: int = 0
    seconds: float = 0.0


def verify(lab: Lab, engine: Engine) -> Proof:
    """Everything about one lab; problems are sentences that say what to repair."""
    started = time.monotonic()
    proof = Proof(lab)
    try:
        _read(lab, proof)
        _Verifier(lab, engine, proof).run()
    except (ValueError, SyntaxError, OSError) as error:
        proof.problems.append(f"{type(error).__name__}: {error}")
    proof.seconds = time.monotonic() - started
    return proof


# ---------------------------------------------------------------- what can be read off the files


def _read(lab: Lab, proof: Proof) -> None:
    slugs = list(mistakes.reference_bodies(lab))
    variants, found = mistakes.variants(lab), checks(lab)
    proof.todos, proof.checks = len(slugs), len(found)
    proof.mistakes, proof.alternatives = len(variants.mistakes), len(variants.alternatives)
    say = proof.problems.append
    if not slugs:
        say("solution.py has no regions")
    if skeleton.drifted(lab):
        say("lab.py is missing, or untouched and not what solution.py generates: run `make skeletons`")
    file = lab.path / "requirements.txt"
    if not file.is_file() or file.read_text(encoding="utf-8") != requirements(lab):
        say("requirements.txt is not what lab.toml generates: run `make skeletons`")
    for check in found:
        if check.todo is not None and check.todo not in slugs:
            say(f"{check.name} grades TODO {check.todo}, which does not exist")
        if not check.description:
            say(f"{check.name} has no docstring for the learner to read")
    for slug in slugs:
        if not any(check.todo == slug for check in found):
            say(f"TODO {slug} has no check")
    if not found or found[-1].todo is not None:
        say("the last check must be a @whole_lab check")
    _read_mistakes(lab, found, slugs, say)
    _read_hints(lab, slugs, say)
    _read_pitfalls(lab, {mistake.name for mistake in variants.mistakes}, say)
    if drivers(lab) is not None:
        both = _functions(lab.drivers_file) & _functions(lab.solution)
        if both:
            say(f"drivers have the names of things in the lab: {', '.join(sorted(both))}")


def _functions(file) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kinds_of = ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef
    return {node.name for node in tree.body if isinstance(node, kinds_of)}


def _read_mistakes(lab: Lab, found: tuple[Check, ...], slugs: list[str], say) -> None:
    variants = mistakes.variants(lab)
    if len(variants.mistakes) < LEAST_MISTAKES:
        say(f"there are {len(variants.mistakes)} mistakes; a lab has at least {LEAST_MISTAKES}")
    names = [entry.name for entry in (*variants.mistakes, *variants.alternatives)]
    for name in sorted({name for name in names if names.count(name) > 1}):
        say(f"the name {name} is used twice in the mistakes file")
    by_name = {check.name: check for check in found}
    for mistake in variants.mistakes:
        check = by_name.get(mistake.caught_by)
        if check is None or check.todo not in (None, mistake.todo):
            say(f"mistake {mistake.name}: caught_by {mistake.caught_by!r} is no check of TODO {mistake.todo}")
        if len(mistake.hint.split()) < 4:
            say(f"mistake {mistake.name}: it has no hint to speak of")
        mistakes.mistaken_body(lab, mistake)
    for alternative in variants.alternatives:
        if alternative.todo not in slugs:
            say(f"alternative {alternative.name}: there is no TODO {alternative.todo}")
    for remark in variants.remarks:
        own = [mistakes.alternative_body(a) for a in variants.alternatives if a.todo == remark.todo]
        if not any(remark.text in mistakes.remarks(lab, remark.todo, body) for body in own):
            say(f"remark on {remark.todo}: no alternative of this TODO calls {remark.calls}")
        if remark.text in mistakes.remarks(lab, remark.todo, mistakes.reference_bodies(lab).get(remark.todo, "")):
            say(f"remark on {remark.todo}: the solution itself calls {remark.calls}")


def _read_hints(lab: Lab, slugs: list[str], say) -> None:
    hints = read_hints(lab)
    for slug in slugs:
        if len(hints.get(slug, ())) != 3:
            say(f"hints.md has {len(hints.get(slug, ()))} levels for TODO {slug}, not 3")
    for slug in set(hints) - set(slugs):
        say(f"hints.md speaks of {slug}, which is no TODO")


def _read_pitfalls(lab: Lab, names: set[str], say) -> None:
    """Every pitfall in the README names its mistake, or says that it is one of judgement."""
    readme = lab.path / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    section = re.search(r"^## Pitfalls\b.*?$(.*?)(?=^## |\Z)", text, flags=re.M | re.S)
    if section is None:
        say("README.md has no section '## Pitfalls'")
        return
    items = re.split(r"^(?:[-*]|\d+\.) ", section[1], flags=re.M)[1:]
    for item in items:
        named = re.findall(r"<!--\s*mistake:\s*([a-z0-9-]+)\s*-->", item)
        if not named and "<!--judgement-->" not in item:
            say(f"README pitfall without a mistake (or <!--judgement-->): {' '.join(item.split())[:70]}")
        for name in named:
            if name not in names:
                say(f"README pitfall names the mistake {name}, which does not exist")


# ---------------------------------------------------------------- what only running shows


class _Verifier:
    def __init__(self, lab: Lab, engine: Engine, proof: Proof):
        self.lab, self.engine, self.proof = lab, engine, proof
        self.found = checks(lab)
        self.variants = mistakes.variants(lab)

    def run(self) -> None:
        self.solution()
        self.untouched()
        self.reach()
        self.mistakes()
        self.alternatives()
        self.degenerate()

    def grade(self, check: Check, answers: kinds.Answers) -> Result:
        self.proof.runs += 1
        return self.engine.run(self.lab, check, answers)

    def say(self, text: str) -> None:
        self.proof.problems.append(text)

    def solution(self) -> None:
        answers = kinds.answers(self.lab, "solution")
        for check in self.found:
            result = self.grade(check, answers)
            if not result.passed:
                self.say(f"the solution fails {check.name}: {result.verdict}: {result.message} {result.values}")

    def untouched(self) -> None:
        answers = kinds.answers(self.lab, "skeleton")
        for check in self.found:
            result = self.grade(check, answers)
            if result.verdict is not Verdict.NOT_STARTED:
                self.say(f"on the untouched lab {check.name} is {result.verdict}, not 'not started'")

    def reach(self) -> None:
        """A check that passes while its TODO raises does not look at its TODO."""
        for check in self.found:
            for slug in [check.todo] if check.todo else list(mistakes.reference_bodies(self.lab)):
                answers = kinds.replaced(self.lab, slug, f'raise RuntimeError("reached {slug}")')
                if check.todo is not None and self.grade(check, answers).passed:
                    self.say(f"{check.name} passes without reaching TODO {slug}")
        whole = [check for check in self.found if check.todo is None]
        for slug in mistakes.reference_bodies(self.lab):
            answers = kinds.replaced(self.lab, slug, f'raise RuntimeError("reached {slug}")')
            if whole and all(self.grade(check, answers).passed for check in whole):
                self.say(f"no whole-lab check reaches TODO {slug}")

    def mistakes(self) -> None:
        for mistake in self.variants.mistakes:
            check = next((check for check in self.found if check.name == mistake.caught_by), None)
            if check is None:
                continue
            result = self.grade(check, kinds.answers(self.lab, f"mistake:{mistake.name}"))
            if result.passed:
                self.say(f"mistake {mistake.name} is not caught by {check.name}")
            elif check.todo is not None and mistake.name not in result.mistakes:
                self.say(
                    f"mistake {mistake.name} is caught by {check.name} but not named "
                    f"(named: {list(result.mistakes)}; {result.verdict}: {result.message})"
                )

    def alternatives(self) -> None:
        for alternative in self.variants.alternatives:
            answers = kinds.answers(self.lab, f"alternative:{alternative.name}")
            for check in self.found:
                if check.todo in (None, alternative.todo):
                    result = self.grade(check, answers)
                    if not result.passed:
                        self.say(
                            f"alternative {alternative.name} fails {check.name}: "
                            f"{result.verdict}: {result.message} {result.values}"
                        )

    def degenerate(self) -> None:
        """A trivial answer may be right by accident in one check, never in all checks of a TODO."""
        for slug in mistakes.reference_bodies(self.lab):
            own = [check for check in self.found if check.todo == slug]
            for kind in kinds.DEGENERATE:
                outcomes = [self._trivial(check, kind) for check in own]
                if any(differs for _, differs in outcomes) and all(message is None for message, _ in outcomes):
                    self.say(f"the trivial answer '{kind}' earns TODO {slug}")

    def _trivial(self, check: Check, kind: str) -> tuple[str | None, bool]:
        """How a trivial answer fares, on the draw the engine would use."""
        self.proof.runs += 1
        reference = mistakes.reference_module(self.lab)
        for attempt in range(DRAWS):
            with contextlib.suppress(WeakDraw):
                return run_module_check(self.lab, check, reference, generator(0, check, attempt), trivial=kind)
        return None, True
