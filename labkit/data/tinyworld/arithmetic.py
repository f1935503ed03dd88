"""Word problems in one to three steps, with the worked solution."""

from __future__ import annotations

from dataclasses import dataclass

from labkit.data.tinyworld import words
from labkit.data.tinyworld.choice import Chooser


@dataclass(frozen=True, slots=True)
class Problem:
    """steps: the calculations, "7 + 3 = 10"; answer: the last result."""

    question: str
    steps: tuple[str, ...]
    answer: int

    @property
    def solution(self) -> str:
        """In the manner of GSM8K: the steps, then `#### answer`."""
        return "\n".join([*self.steps, f"#### {self.answer}"])


def make_problem(choose: Chooser, title: str = "") -> Problem:
    """Somebody has some goods; one to three things happen to them. Numbers stay between 1 and 100."""
    p = choose.pick(words.PEOPLE)
    r = choose.pick_new(words.PEOPLE, [p])
    one, many = choose.pick(words.GOODS)
    he = p.he
    text, steps, n = [], [], 0
    if choose.below(2):
        n = 3 + choose.below(28)
        text.append(f"{p.name} has {n} {many}.")
    else:
        bags, each = 2 + choose.below(5), 2 + choose.below(9)
        n = bags * each
        text.append(f"{p.name} has {bags} {choose.pick(('bags', 'boxes', 'baskets'))} with {each} {many} in each.")
        steps.append(f"{bags} * {each} = {n}")
    for _ in range(1 + choose.below(3 - len(steps))):
        can = ["gets"] + ["gives", "eats"] * (n > 2) + ["doubles"] * (n <= 40) + ["halves"] * (n % 2 == 0 and n > 2)
        what = choose.pick(can)
        before = n
        if what == "gets":
            k = 2 + choose.below(19)
            n += k
            text.append(choose.pick((f"{he} buys {k} more.", f"{r.name} gives {p.him} {k} more.")))
            steps.append(f"{before} + {k} = {n}")
        elif what in ("gives", "eats"):
            k = 1 + choose.below(n - 1)
            n -= k
            text.append(f"{he} gives {k} of them to {r.name}." if what == "gives" else f"{he} eats {k} of them.")
            steps.append(f"{before} - {k} = {n}")
        elif what == "doubles":
            n *= 2
            text.append(f"Then {he.lower()} finds as many again.")
            steps.append(f"{before} * 2 = {n}")
        else:
            n //= 2
            text.append(f"{he} loses half of them.")
            steps.append(f"{before} / 2 = {n}")
    text.append(f"How many {many} does {p.name} have now?")
    return Problem(" ".join(text).replace(f" 1 {many}", f" 1 {one}"), tuple(steps), n)
