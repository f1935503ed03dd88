"""What word vectors are asked: pairs that belong together, analogies, and human scores where they are at hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np

# Pairs of words from technical documentation. Within a relation, any two pairs make an analogy.
RELATIONS = {
    "plural": "file files  array arrays  value values  string strings  object objects  list lists  argument arguments  "
    "function functions  method methods  class classes  element elements  character characters  key keys  "
    "index indices  line lines  name names  module modules  type types  attribute attributes  option options  "
    "number numbers  column columns  row rows  byte bytes  directory directories  exception exceptions",
    "third-person": "return returns  raise raises  read reads  write writes  create creates  convert converts  "
    "contain contains  compute computes  remove removes  represent represents  provide provides  specify specifies  "
    "support supports  indicate indicates  perform performs  check checks  take takes",
    "participle": "use used  call called  return returned  create created  specify specified  raise raised  "
    "ignore ignored  convert converted  close closed  open opened  define defined  pass passed",
    "-ing": "read reading  write writing  use using  call calling  pass passing  parse parsing  return returning  "
    "sort sorting  open opening  send sending",
    "opposite": "min max  minimum maximum  first last  start end  lower upper  left right  true false  open close  "
    "read write  encode decode  input output  positive negative  client server  encoder decoder  enter exit  "
    "add remove  before after  even odd  row column  send receive  load dump  big little",
}


def pairs_of(ids: dict[str, int]) -> dict[str, list[tuple[int, int]]]:
    """The pairs of RELATIONS whose two words are in the vocabulary, as ids."""
    found = {}
    for relation, text in RELATIONS.items():
        words = text.split()
        pairs = zip(words[::2], words[1::2], strict=True)
        found[relation] = [(ids[a], ids[b]) for a, b in pairs if a in ids and b in ids]
    return found


def questions_of(pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Every two pairs with four different words: a is to b as c is to d.   -> (Q, 4) int64"""
    questions = [(*p, *q) for p, q in permutations(pairs, 2) if len({*p, *q}) == 4]
    return np.array(questions, dtype=np.int64).reshape(-1, 4)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def in_ten(vectors: np.ndarray, pairs: Sequence[tuple[int, int]]) -> float:
    """How often one word of a pair is among the ten words nearest to the other; both directions count."""
    unit = unit_rows(vectors)
    a, b = np.array([*pairs, *((b, a) for a, b in pairs)]).T
    cosine = unit[a] @ unit.T  # (2 pairs, V)
    rows = np.arange(len(a))
    partner = cosine[rows, b]
    cosine[rows, a] = -np.inf
    return float(((cosine > partner[:, None]).sum(1) < 10).mean())


def analogy_accuracy(vectors: np.ndarray, questions: np.ndarray, exclude: bool = True) -> float:
    """The share of questions (Q, 4) that 3CosAdd answers rightly: `analogy` of solution.py, many at a time.

    exclude: whether the three words of a question are barred from being its answer, as is the custom
    """
    unit = unit_rows(vectors)
    right = 0
    for part in np.array_split(questions, max(1, len(questions) // 500)):
        a, b, c, d = part.T
        cosine = (unit[b] - unit[a] + unit[c]) @ unit.T
        for excluded in (a, b, c) if exclude else ():
            cosine[np.arange(len(part)), excluded] = -np.inf
        right += int((cosine.argmax(1) == d).sum())
    return right / len(questions)


def docs_scores(vectors: np.ndarray, ids: dict[str, int]) -> dict[str, float]:
    """The probes of technical documentation: pairs in ten, analogies, and the analogies of each relation."""
    pairs = pairs_of(ids)
    questions = {relation: questions_of(some) for relation, some in pairs.items()}
    questions = {relation: some for relation, some in questions.items() if len(some)}
    if not questions:
        return {}
    everything = np.concatenate(list(questions.values()))
    return {
        "in_ten": in_ten(vectors, [pair for some in pairs.values() for pair in some]),
        "analogies": analogy_accuracy(vectors, everything),
        "not_excluded": analogy_accuracy(vectors, everything, exclude=False),
        "questions": len(everything),
        "relations": {relation: analogy_accuracy(vectors, some) for relation, some in questions.items()},
    }


def published_scores(vectors: np.ndarray, ids: dict[str, int]) -> dict[str, float]:
    """WordSim-353 (Spearman's rank correlation) and Google's analogies, as far as the data and the words are there.

    Pairs and questions with a word outside the vocabulary are left out, so the number answered belongs to the score.
    """
    from scipy.stats import spearmanr

    from labkit import data

    try:
        judged = data.load("wordsim353").records
        lines = data.load("questions-words").text.lower().splitlines()
    except data.DataUnavailable as problem:
        print(f"no published probes: {problem}")
        return {}
    rows = [(r["word1"].lower(), r["word2"].lower(), float(r["score"])) for r in judged]
    rows = [row for row in rows if row[0] in ids and row[1] in ids]
    words = [line.split() for line in lines if not line.startswith(":")]
    questions = np.array([[ids[w] for w in q] for q in words if all(w in ids for w in q)])
    if len(rows) < 3 or not len(questions):
        return {}
    unit = unit_rows(vectors)
    cosines = [float(unit[ids[a]] @ unit[ids[b]]) for a, b, _ in rows]
    return {
        "wordsim": float(spearmanr(cosines, [score for *_, score in rows]).statistic),
        "wordsim_pairs": len(rows),
        "google": analogy_accuracy(vectors, questions),
        "google_questions": len(questions),
    }


def scores(vectors: np.ndarray, ids: dict[str, int], corpus: str) -> dict[str, float]:
    """The probes that suit the corpus. Documentation of Python has its own, general English the published ones."""
    return docs_scores(vectors, ids) if corpus.startswith("python-docs") else published_scores(vectors, ids)
