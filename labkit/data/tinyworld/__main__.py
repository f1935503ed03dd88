"""Measures TinyWorld, and shows samples: python -m labkit.data.tinyworld [--stories 20000] [--samples 3]"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from time import perf_counter, process_time

from labkit.data.tinyworld import Cloze, Story, TinyWorld

ORDER = 4


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m labkit.data.tinyworld", description=__doc__)
    parser.add_argument("--stories", type=int, default=20_000, help="how many training stories to make and count")
    parser.add_argument("--samples", type=int, default=0, help="print so many of each kind instead of measuring")
    args = parser.parse_args()
    samples(args.samples) if args.samples else measure(args.stories)


def samples(count: int) -> None:
    world = TinyWorld()
    for name in ("stories", "cloze", "questions", "choices", "instructions", "preferences", "problems", "red_team"):
        print(f"\n--- {name}")
        for item in getattr(world, name)("test", count):
            print(item.text if isinstance(item, Story) else item, end="\n\n")


def tokens(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)


def measure(count: int) -> None:
    world = TinyWorld()
    next(world.stories("train", 1))  # the held-out stories are made here
    wall, cpu = perf_counter(), process_time()
    stories = [(story.text, story.nats) for story in world.stories("train", count)]
    wall, cpu = perf_counter() - wall, process_time() - cpu
    characters = sum(len(text) for text, _ in stories)
    nats = sum(nats for _, nats in stories)
    print(
        f"speed           {characters / cpu / 1e6:.1f} MB per CPU second ({characters / wall / 1e6:.1f} by the clock)"
    )
    held_out = [story for split in ("validation", "test") for story in world.stories(split)]
    mean = sum(story.nats for story in held_out) / len(held_out)
    spread = (sum((story.nats - mean) ** 2 for story in held_out) / len(held_out)) ** 0.5
    train = [tokens(text) for text, _ in stories]
    words = sum(map(len, train))
    print(f"a story         {characters / count:.0f} characters, {words / count:.0f} words and marks")
    print(f"nats            {nats / count:.2f} a story in training; held out {mean:.2f} (deviation {spread:.1f})")
    print(f"                {nats / words:.4f} a word or mark, {nats / characters:.4f} a character")
    print(f"vocabulary      {len({token for text in train for token in text})} words and marks")
    print(f"cloze           {len(list(world.cloze('test')))} items, four options each: chance is 25 %")
    counts = ngram_counts(train)
    for name, choose in (
        (f"{ORDER}-gram", lambda item: by_ngram(counts, item)),
        ("named last", lambda item: max(item.options, key=item.context.rfind)),
        ("named most", lambda item: max(item.options, key=item.context.count)),
    ):
        by_kind = Counter()
        right = Counter()
        for item in world.cloze("test"):
            by_kind[item.kind] += 1
            right[item.kind] += choose(item) == item.answer
        kinds = ", ".join(f"{kind} {right[kind] / n:.0%}" for kind, n in sorted(by_kind.items()))
        print(f"  {name:12}  {right.total() / by_kind.total():.1%} right ({kinds})")
    top = sum(by_ngram(counts, item, everything=True) == item.answer for item in world.cloze("test"))
    print(f"  {ORDER}-gram, without options: {top / 1000:.1%} right")


def ngram_counts(texts: list[list[str]]) -> list[dict[tuple[str, ...], Counter]]:
    """counts[n][the n words before][word]"""
    counts: list[dict[tuple[str, ...], Counter]] = [{} for _ in range(ORDER)]
    for text in texts:
        for i, word in enumerate(text):
            for n in range(min(i, ORDER - 1) + 1):
                counts[n].setdefault(tuple(text[i - n : i]), Counter())[word] += 1
    return counts


def by_ngram(counts: list[dict[tuple[str, ...], Counter]], item: Cloze, everything: bool = False) -> str:
    """The likeliest word after the context: of the options, or of everything; backing off where there is no count."""
    context = tuple(tokens(item.context)[-ORDER + 1 :])
    for n in range(ORDER - 1, -1, -1):
        seen = counts[n].get(context[len(context) - n :], Counter())
        if everything and seen:
            return max(seen, key=seen.__getitem__)
        if any(seen[option] for option in item.options):
            return max(item.options, key=lambda option: seen[option])
    return item.options[0]


if __name__ == "__main__":
    main()
