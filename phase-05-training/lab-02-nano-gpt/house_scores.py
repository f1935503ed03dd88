"""What the house models can do: perplexity on whole stories, cloze, multiple choice, stories of their own; and what
counting or copying gets at the same tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from labkit import run
from labkit.data.tinyworld import TinyWorld
from labkit.data.tinyworld.reader import Reader, sentences_of
from labkit.reference import char_rnn
from labkit.reference.bpe_tokenizer import BPETokenizer
from labkit.reference.mini_transformer import MiniGPT
from labkit.reference.nano_gpt import write

ORDER = 4
BATCH = 16


@dataclass(frozen=True)
class Item:
    """A text, ways to go on, and which of them is right. kind: for the breakdown"""

    context: list[int]
    options: list[list[int]]
    right: int
    kind: str


def cloze_items(tokenizer: BPETokenizer, count: int, split: str = "test") -> list[Item]:
    """A story up to a word that follows from it; four words to choose from."""
    found = []
    for item in TinyWorld().cloze(split, count):
        options = [tokenizer.encode_ordinary(f" {option}") for option in item.options]
        context = [tokenizer.eot_id, *tokenizer.encode_ordinary(item.context)]
        found.append(Item(context, options, item.options.index(item.answer), item.kind))
    return found


def choice_items(tokenizer: BPETokenizer, count: int) -> list[Item]:
    """A story and a question; the four answers are scored as text, for a base model has seen no lettered lists."""
    found = []
    for item in TinyWorld().choices("test", count):
        prompt = f"{item.context}\nQuestion: {item.question}\nAnswer:"
        options = [tokenizer.encode_ordinary(f" {option}") for option in item.options]
        found.append(Item([tokenizer.eot_id, *tokenizer.encode_ordinary(prompt)], options, item.answer, "all"))
    return found


@torch.no_grad()
def token_nats(gpt: MiniGPT, rows: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """-ln P of every token of each row but the first; rows may differ in length."""
    found: list[np.ndarray] = [np.empty(0)] * len(rows)
    order = sorted(range(len(rows)), key=lambda n: len(rows[n]))
    for start in run.progress(range(0, len(rows), BATCH), "scoring"):
        chosen = order[start : start + BATCH]
        width = max(len(rows[n]) for n in chosen)
        ids = torch.tensor([[*rows[n], *[0] * (width - len(rows[n]))] for n in chosen])  # what follows changes nothing
        log_p = gpt(ids[:, :-1])[0].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
        for row, n in enumerate(chosen):
            found[n] = -log_p[row, : len(rows[n]) - 1].double().numpy()
    return found


@torch.no_grad()
def answers(gpt: MiniGPT, items: Sequence[Item]) -> list[tuple[int, bool]]:
    """For each item: the likeliest option, and whether the right one is the likeliest of all texts that begin so.

    The score of an option is ln P(its tokens | context). Options of one token share one reading of the context.
    """
    rows, places = [], []
    for item in items:
        prefixes = sorted({tuple(option[:-1]) for option in item.options})
        places.append({prefix: len(rows) + n for n, prefix in enumerate(prefixes)})
        rows += [[*item.context, *prefix] for prefix in prefixes]
    log_p = last_log_probabilities(gpt, rows, [len(item.context) for item, at in zip(items, places) for _ in at])
    found = []
    for item, at in zip(items, places):
        scores = []
        for option in item.options:
            table = log_p[at[tuple(option[:-1])]]
            scores.append(sum(float(table[place, token]) for place, token in enumerate(option)))
        best = max(range(len(scores)), key=scores.__getitem__)
        table = log_p[at[tuple(item.options[item.right][:-1])]]
        greedy = all(int(table[place].argmax()) == token for place, token in enumerate(item.options[item.right]))
        found.append((best, greedy))
    return found


@torch.no_grad()
def last_log_probabilities(gpt: MiniGPT, rows: list[list[int]], lengths: list[int]) -> list[torch.Tensor]:
    """For each row the log-probabilities (places, V) from the end of its context, `lengths` tokens, on."""
    found: list[torch.Tensor] = [torch.empty(0)] * len(rows)
    order = sorted(range(len(rows)), key=lambda n: len(rows[n]))
    for start in run.progress(range(0, len(rows), BATCH), "answering"):
        chosen = order[start : start + BATCH]
        width = max(len(rows[n]) for n in chosen)
        features = gpt.features(torch.tensor([[*rows[n], *[0] * (width - len(rows[n]))] for n in chosen]))
        for row, n in enumerate(chosen):
            found[n] = gpt.head(features[row, lengths[n] - 1 : len(rows[n])]).log_softmax(-1)
    return found


def ngram_answers(train: np.ndarray, items: Sequence[Item], vocab_size: int) -> list[int]:
    """The same choice by a Kneser-Ney 4-gram of the training text, which sees the last three tokens."""
    grams = []
    for item in items:
        for option in item.options:
            text = [*item.context[-ORDER + 1 :], *option]
            grams += [text[n : n + ORDER] for n in range(len(option))]
    log_p = iter(np.log(char_rnn.kneser_ney(train, np.array(grams), vocab_size)))
    scores = [[sum(next(log_p) for _ in option) for option in item.options] for item in items]
    return [max(range(len(row)), key=row.__getitem__) for row in scores]


def named_most(kind: str, count: int) -> float:
    """The share of "cloze" or "choices" that is right by a rule of thumb: the option that the text names most often."""
    right = 0
    for item in getattr(TinyWorld(), kind)("test", count):
        answer = item.answer if isinstance(item.answer, str) else item.options[item.answer]
        right += max(item.options, key=item.context.count) == answer
    return right / count


def accuracy(items: Sequence[Item], chosen: Sequence[int]) -> dict[str, float]:
    """The share that is right: "all", and by kind."""
    right, total = Counter(), Counter()
    for item, choice in zip(items, chosen):
        for kind in {"all", item.kind}:
            right[kind] += choice == item.right
            total[kind] += 1
    return {kind: right[kind] / total[kind] for kind in sorted(total)}


def story_nats(gpt: MiniGPT, tokenizer: BPETokenizer, count: int) -> dict[str, float]:
    """Per token over whole test stories, the end of text included: the model's nats, and the generator's own."""
    stories = list(TinyWorld().stories("test", count))
    eot = tokenizer.eot_id
    rows = [[eot, *tokenizer.encode_ordinary(story.text), eot] for story in stories]
    tokens = sum(len(row) - 1 for row in rows)
    nats = sum(float(row.sum()) for row in token_nats(gpt, rows)) / tokens
    return {"nats": nats, "perplexity": float(np.exp(nats)), "entropy": sum(s.nats for s in stories) / tokens}


def own_stories(gpt: MiniGPT, tokenizer: BPETokenizer, count: int, temperature: float) -> list[str]:
    """How the model goes on after the first sentences of `count` test stories."""
    found, generator = [], torch.Generator().manual_seed(0)
    for story in run.progress(TinyWorld().stories("test", count), "writing", count):
        prompt = [tokenizer.eot_id, *tokenizer.encode_ordinary(story.sentences[0])]
        room = gpt.config.block_size - len(prompt)
        (ids,) = write(gpt, prompt, 1, room, tokenizer.eot_id, temperature, generator)
        found.append((story.sentences[0] + tokenizer.decode(ids)).partition("\nQuestion:")[0])
    return found


def held_to_account(texts: Sequence[str]) -> dict[str, float]:
    """What a reader finds in stories: shares of all sentences, and the share of stories in which it finds no fault.

    sayable: sentences that TinyWorld could say   contradicting: those that contradict what stood before
    repeated: those that stood in the story before   faultless: stories that are sayable and without contradiction
    """
    counts: Counter[str] = Counter()
    for text in texts:
        reader, seen, faults = Reader(), set(), 0
        for sentence in sentences_of(text):
            known = len(reader.problems)
            problems = reader.read([sentence])[known:]
            strange = any(problem.endswith(f"readings: {sentence}") for problem in problems)
            wrong = bool(problems) and not strange
            faults += bool(problems)
            counts += Counter(sentences=1, sayable=not strange, contradicting=wrong, repeated=sentence in seen)
            seen.add(sentence)
        counts += Counter(faultless=not faults)
    shares = {name: counts[name] / counts["sentences"] for name in ("sayable", "contradicting", "repeated")}
    return {"sentences": counts["sentences"], **shares, "faultless": counts["faultless"] / len(texts)}
