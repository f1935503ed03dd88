"""A small world of words whose similarities, analogies and biases are planted, so that a harness can be judged by it.

A word's latent vector is the centre of its group, something of its own and, where it has them, the steps that relate it
to another word: country to capital, woman to man, a profession to one of the two. What a model would learn is simulated
from it: noise, and one direction that all words share, more or less strongly.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

CAPITALS = """france paris italy rome spain madrid japan tokyo egypt cairo cuba havana greece athens norway oslo peru
    lima russia moscow china beijing iran tehran kenya nairobi poland warsaw chile santiago canada ottawa"""
GENDERED = "woman man she he queen king mother father daughter son sister brother girl boy aunt uncle"
GROUPS = {
    "animals": "dog cat horse cow sheep goat pig duck goose hen lion tiger bear wolf fox deer mouse rabbit",
    "colours": "red orange yellow green blue purple pink brown black white grey violet crimson turquoise",
    "instruments": "piano violin cello flute oboe clarinet trumpet horn drum harp guitar organ lute viola",
    "professions": """baker barber carpenter chemist clerk cook dentist doctor driver farmer gardener judge lawyer mason
        miner nurse painter pilot plumber poet sailor singer tailor teacher""",
}
FILLERS = 300  # words of no group, so that an analogy has many wrong answers to choose from


@dataclass(frozen=True)
class World:
    """words: V of them   latent: (V, D)   groups: name -> ids   sections: name -> (Q, 4) analogies   gendered: (8, 2)
    bias: the planted leaning of each profession, -1 to 1   direction: (D,), what leaning means, of length 1
    """

    words: list[str]
    latent: np.ndarray
    groups: dict[str, np.ndarray]
    sections: dict[str, np.ndarray]
    gendered: np.ndarray
    bias: np.ndarray
    direction: np.ndarray


def analogies(pairs: np.ndarray) -> np.ndarray:
    """Every two different pairs make a question a b c d: (P, 2) -> (P (P - 1), 4)."""
    return np.array([[*first, *second] for first, second in itertools.permutations(pairs.tolist(), 2)])


def plant(rng: np.random.Generator, dim: int = 50) -> World:
    """The world. Leanings of professions are dealt out at random: no real stereotype decides them."""

    def directions(n):
        return rng.standard_normal((n, dim)) / np.sqrt(dim)  # of length about 1, nearly at right angles

    words, rows, groups = [], [], {}

    def add(name, new, vectors):
        groups[name] = np.arange(len(words), len(words) + len(new))
        words.extend(new)
        rows.append(vectors)
        return groups[name]

    country, capital = CAPITALS.split()[::2], CAPITALS.split()[1::2]
    own, (centre, to_capital) = 0.8 * directions(len(country)), directions(2)
    countries = add("countries", country, centre + own)
    capitals = add("capitals", capital, centre + to_capital + own + 0.2 * directions(len(country)))

    leaning, associated = np.linalg.qr(directions(2).T)[0].T  # the bias direction, and what tends to come with it
    female, male = GENDERED.split()[::2], GENDERED.split()[1::2]
    own = directions(1) + 0.9 * directions(len(female))
    women = add("women", female, own + 0.6 * leaning)
    men = add("men", male, own - 0.6 * leaning + 0.2 * directions(len(male)))

    for name, text in GROUPS.items():
        members = text.split()
        vectors = directions(1) + 0.8 * directions(len(members))
        if name == "professions":
            bias = rng.permutation(np.linspace(-1, 1, len(members)))
            vectors += 0.6 * bias[:, None] * (leaning + associated)
        add(name, members, vectors)
    words += [f"filler{i}" for i in range(FILLERS)]
    rows.append(directions(15)[rng.integers(15, size=FILLERS)] + 0.8 * directions(FILLERS))

    gendered = np.stack([women, men], axis=1)
    sections = {"capital": analogies(np.stack([countries, capitals], axis=1)), "gender": analogies(gendered)}
    return World(words, np.concatenate(rows), groups, sections, gendered, bias, leaning)


def learned(world: World, rng: np.random.Generator, noise: float | np.ndarray = 0.7, shared: float = 0.0) -> np.ndarray:
    """Simulated training: the latent vectors, noise of about this length (a number, or one per word), and one direction
    that every word gets a different amount of, `shared` on average, as frequency does it to real vectors.  -> (V, D)
    """
    size, dim = world.latent.shape
    vectors = world.latent + np.reshape(noise, (-1, 1)) * rng.standard_normal((size, dim)) / np.sqrt(dim)
    common = rng.standard_normal(dim) / np.sqrt(dim)
    return vectors + shared * rng.uniform(0, 2, (size, 1)) * common


def judged_pairs(world: World, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(P, 2) different pairs of group members, half of them within one group, and scores from 0 to 10 in steps of 0.5.

    The scores are the latent cosines, rounded like the judgements of people, so many of them are equal.
    """
    named = np.concatenate(list(world.groups.values()))
    group = np.repeat(np.arange(len(world.groups)), [len(ids) for ids in world.groups.values()])
    pairs = rng.permutation(np.array(list(itertools.combinations(range(len(named)), 2))))
    same = group[pairs[:, 0]] == group[pairs[:, 1]]
    pairs = np.concatenate([pairs[same][: count // 2], pairs[~same][: count - count // 2]])
    unit = world.latent / np.linalg.norm(world.latent, axis=1, keepdims=True)
    pairs = named[pairs]
    cosine = (unit[pairs[:, 0]] * unit[pairs[:, 1]]).sum(axis=1)
    return pairs, np.round(2 * (5 + 5 * cosine)) / 2
