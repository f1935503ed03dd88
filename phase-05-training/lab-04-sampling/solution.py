"""Sampling: from logits to text. Truncation, penalties, beam search, contrastive search, and JSON by construction.

Logits are float32 or float64. A token that must not be drawn has the logit -inf, before and after every function here:
none of them lets such a token come back. No function changes its inputs.
B batch, T tokens so far, V vocabulary, D model width, K candidates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from labkit import run

PRESETS = {
    "smoke": {"samples": 2, "tokens": 6, "documents": 2},
    "cpu": {"samples": 40, "tokens": 64, "documents": 200},
    "full": {"samples": 200, "tokens": 128, "documents": 1000},
}
INF = math.inf


def between(name: str, value: float, low: float, high: float) -> None:
    """Raises ValueError unless low <= value <= high."""
    if not low <= value <= high:
        raise ValueError(f"{name}: expected a number from {low} to {high}, got {value}")


# ---------------------------------------------------------------------------------------------------------------------
# Functions on logits
# ---------------------------------------------------------------------------------------------------------------------
def greedy(logits: Tensor) -> Tensor:
    """The token with the largest logit, of equal ones the one with the lowest id.   (B, V) -> (B,) int64"""
    return logits.argmax(-1)


def min_p(logits: Tensor, share: float) -> Tensor:
    """Keeps the tokens that are at least `share` times as probable as the best one. (Given, to show the form.)

    logits: (B, V) -> (B, V): kept logits as they were, -inf for the others.   share: 0 keeps all, 1 the best and ties
    Raises ValueError unless 0 <= share <= 1.      Nguyen et al. 2024
    """
    between("share", share, 0, 1)
    probabilities = logits.softmax(-1)
    return logits.masked_fill(probabilities < share * probabilities.amax(-1, keepdim=True), -INF)


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Logits over temperature: below 1 sharper, above 1 flatter. The limit 0 is greedy decoding.

    logits: (B, V) -> (B, V)
    temperature 0: the one token that `greedy` takes keeps its logit, all others become -inf
    Raises ValueError unless temperature is finite and >= 0.
    """
    between("temperature", temperature, 0, 1e30)
    # >>> temperature (~4 lines): a division, and the limit where a division cannot be done
    if temperature == 0:
        best = greedy(logits).unsqueeze(-1)  # (B, 1)
        return torch.full_like(logits, -INF).scatter(-1, best, logits.gather(-1, best))
    return logits / temperature
    # <<< temperature


def top_k(logits: Tensor, k: int) -> Tensor:
    """Keeps the k largest logits, and those equal to the k-th, so that equal tokens are treated alike.

    logits: (B, V) -> (B, V): kept logits as they were, -inf for the others.   k > V keeps all.
    Raises ValueError when k < 1.      Fan et al. 2018
    """
    if k < 1:
        raise ValueError(f"k: expected at least 1, got {k}")
    # >>> top-k (~2 lines): find the k-th largest of each row, and put -inf where a logit is below it
    least = logits.topk(min(k, logits.size(-1))).values[..., -1:]  # (B, 1)
    return logits.masked_fill(logits < least, -INF)
    # <<< top-k


def keep_mass(logits: Tensor, rank: Tensor, mass: float) -> Tensor:
    """Keeps the first tokens, in the order of rank, whose probabilities together reach `mass`: as few as possible.

    logits: (B, V) -> (B, V): kept logits as they were, -inf for the others
    rank: (B, V), smaller comes first, of equal ones the lower id; any order, not only that of the probabilities
    mass: 0 keeps the first token of each row; 1 keeps every token, however the sum of V probabilities is rounded
    Raises ValueError unless 0 <= mass <= 1.
    """
    between("mass", mass, 0, 1)
    # >>> keep-mass (~7 lines): sort by rank, sum up, cut where the tokens before already reach mass, sort back
    if mass == 1:
        return logits
    order = rank.argsort(dim=-1, stable=True)  # (B, V)
    ordered = logits.softmax(-1).gather(-1, order)
    cut = ordered.cumsum(-1) - ordered >= mass  # the sum without the token itself
    cut[..., 0] = False
    return logits.masked_fill(cut.scatter(-1, order, cut), -INF)
    # <<< keep-mass


def top_p(logits: Tensor, p: float) -> Tensor:
    """Nucleus sampling: the fewest tokens that hold probability p, the most probable first.

    (B, V) -> (B, V)   Raises ValueError unless 0 <= p <= 1.      Holtzman et al. 2020
    """
    between("p", p, 0, 1)
    return keep_mass(logits, -logits, p)


def typical(logits: Tensor, mass: float) -> Tensor:
    """Locally typical sampling: first the tokens whose surprise -ln p is closest to the expected one, the entropy.

    (B, V) -> (B, V)   Raises ValueError unless 0 <= mass <= 1.      Meister et al. 2023
    """
    log_p = logits.log_softmax(-1)
    entropy = -(log_p.exp() * log_p).nansum(-1, keepdim=True)  # 0 · -inf is NaN, and counts as 0
    return keep_mass(logits, (-log_p - entropy).abs(), mass)


def penalize(
    logits: Tensor, ids: Tensor, repetition: float = 1.0, presence: float = 0.0, frequency: float = 0.0
) -> Tensor:
    """Makes tokens that were used already less likely.

    logits: (B, V)   ids: (B, T) int64, what row b has written so far; T may be 0   -> (B, V)
    First repetition: the logit of each used token is divided by it if positive, multiplied by it if negative, once,
    however often the token was used. Then `presence` is subtracted once from each used token, and `frequency` as many
    times as it was used.
    Raises ValueError unless repetition > 0.      Keskar et al. 2019 (repetition); OpenAI's API (the other two)
    """
    if not repetition > 0:
        raise ValueError(f"repetition: expected more than 0, got {repetition}")
    # >>> penalties (~6 lines): how often each row used each token; from that, the three changes, used tokens only
    counts = torch.zeros_like(logits).scatter_add(-1, ids, torch.ones_like(ids, dtype=logits.dtype))  # (B, V)
    used = counts > 0
    weaker = torch.where(logits > 0, logits / repetition, logits * repetition)
    logits = torch.where(used, weaker, logits)
    return logits - presence * used.to(logits.dtype) - frequency * counts
    # <<< penalties


@dataclass(frozen=True)
class Sampler:
    """All of the above in one object. The defaults change nothing: they draw from the model's own distribution."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition: float = 1.0
    presence: float = 0.0
    frequency: float = 0.0

    def process(self, logits: Tensor, ids: Tensor) -> Tensor:
        """The logits to draw from, in the order of `transformers`.

        penalties, temperature, top-k, top-p, min-p, typical: each works on what the one before has left.
        top_k None: no top-k.   logits: (B, V)   ids: (B, T) int64, written so far   -> (B, V)
        """
        # >>> sampler (~7 lines): one function after the other, with this object's numbers
        logits = penalize(logits, ids, self.repetition, self.presence, self.frequency)
        logits = apply_temperature(logits, self.temperature)
        if self.top_k is not None:
            logits = top_k(logits, self.top_k)
        logits = top_p(logits, self.top_p)
        logits = min_p(logits, self.min_p)
        return typical(logits, self.typical_p)
        # <<< sampler

    def __call__(self, logits: Tensor, ids: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One token per row, drawn from the processed logits.   (B, V), (B, T) -> (B,) int64"""
        return torch.multinomial(self.process(logits, ids).softmax(-1), 1, generator=generator)[:, 0]


# ---------------------------------------------------------------------------------------------------------------------
# Loops around a model. next_logits: ids (B, T) -> (B, V), the logits of the token after the last one of each row
# ---------------------------------------------------------------------------------------------------------------------
@torch.no_grad()
def generate(
    next_logits: Callable[[Tensor], Tensor],
    prompt: Tensor,
    new_tokens: int,
    choose: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """The prompt and new_tokens more.   prompt: (B, T) -> (B, T + new_tokens)   choose: (logits, ids) -> (B,)"""
    ids = prompt
    for _ in range(new_tokens):
        ids = torch.cat([ids, choose(next_logits(ids), ids)[:, None]], dim=1)
    return ids


class Hypothesis(NamedTuple):
    """tokens: those after the prompt, the end token included if there is one   score: ln p / length^alpha"""

    tokens: list[int]
    score: float


@torch.no_grad()
def beam_search(
    next_logits: Callable[[Tensor], Tensor],
    prompt: Tensor,
    beams: int,
    new_tokens: int,
    eos_id: int | None = None,
    alpha: float = 1.0,
) -> list[Hypothesis]:
    """The best continuations found with at most `beams` unfinished ones in memory, best score first.

    prompt: (T,) int64   next_logits is called once per step, with all live beams in one batch (N, T + step).
    A step: of all one-token continuations of the live beams, those that end in eos_id are finished; of the others, the
    `beams` with the largest ln p live on. After new_tokens steps the live beams are finished as they are.
    score = ln p(new tokens | prompt) / (number of new tokens)^alpha. It ranks finished hypotheses only.
    Returns at most `beams` of them, none of probability 0.      Wu et al. 2016 (length normalisation)
    Raises ValueError when beams < 1 or new_tokens < 1.
    """
    if beams < 1 or new_tokens < 1:
        raise ValueError(f"beams, new_tokens: expected at least 1 each, got {beams} and {new_tokens}")
    finished: list[Hypothesis] = []
    rows, sums = prompt[None], torch.zeros(1, device=prompt.device)  # (N, T) and (N,): live beams, their ln p

    def finish(tokens: Tensor, log_p: Tensor) -> None:
        """tokens: (N, any)   log_p: (N,). Adds them to `finished`, but for those of probability 0."""
        for row, total in zip(tokens[:, len(prompt) :].tolist(), log_p.tolist(), strict=True):
            if total > -INF:
                finished.append(Hypothesis(row, total / len(row) ** alpha))

    # >>> beam-search (~14 lines): extend, take out what ends, keep the best of the rest; at last the survivors
    for _ in range(new_tokens):
        totals = sums[:, None] + next_logits(rows).log_softmax(-1)  # (N, V)
        if eos_id is not None:
            ended = torch.cat([rows, torch.full_like(rows[:, :1], eos_id)], dim=1)
            finish(ended, totals[:, eos_id])
            totals[:, eos_id] = -INF
        sums, place = totals.flatten().topk(min(beams, totals.numel()))
        sums, place = sums[sums > -INF], place[sums > -INF]
        rows = torch.cat([rows[place // totals.size(1)], (place % totals.size(1))[:, None]], dim=1)
        if len(rows) == 0:
            break
    finish(rows, sums)
    return sorted(finished, key=lambda h: h.score, reverse=True)[:beams]
    # <<< beam-search


@torch.no_grad()
def contrastive_step(
    logits: Tensor, context: Tensor, look_ahead: Callable[[Tensor], Tensor], k: int, alpha: float
) -> int:
    """The next token by contrastive search: likely, and not like anything the model has just thought.

    argmax over the k most probable v of   (1 - alpha) p(v) - alpha max_j cos(h_v, h_j)
    logits: (V,)   context: (T, D), the model's hidden states h_j of the tokens so far, T >= 1
    look_ahead: candidates (K,) int64 -> (K, D), the hidden state h_v that each would have; called once
    p: the softmax of all V logits.  Tokens of probability 0 are no candidates; k > V is no error.
    Raises ValueError unless k >= 1 and 0 <= alpha <= 1.      Su et al. 2022
    """
    if k < 1:
        raise ValueError(f"k: expected at least 1, got {k}")
    between("alpha", alpha, 0, 1)
    # >>> contrastive (~6 lines): candidates, their hidden states, the likeness to the closest one of the context
    p = logits.softmax(-1)
    p, candidates = p.topk(min(k, int((p > 0).sum())))  # (K,)
    hidden = F.normalize(look_ahead(candidates), dim=-1)  # (K, D)
    likeness = (hidden @ F.normalize(context, dim=-1).mT).amax(-1)  # (K, T) -> (K,)
    return int(candidates[((1 - alpha) * p - alpha * likeness).argmax()])
    # <<< contrastive


# ---------------------------------------------------------------------------------------------------------------------
# JSON by construction (RFC 8259)
# ---------------------------------------------------------------------------------------------------------------------
SPACE, DIGITS, HEX = " \t\n\r", "0123456789", "0123456789abcdefABCDEF"
WORDS = {"t": "rue", "f": "alse", "n": "ull"}
# How many characters are missing at least, not counting the brackets that are open: by what was read last.
MISSING = {
    "object": 2, "value": 1, "first value": 0, "first key": 0, "key": 4, "colon": 2, "end": 0, "string": 1,
    "key string": 3, "escape": 2, "key escape": 4, "-": 1, "0": 0, "integer": 0, ".": 1, "fraction": 0, "e": 1,
    "e+": 1, "exponent": 0,
}  # fmt: skip
NUMBER = {  # what may follow inside a number, and where it leads
    "-": {"0": "0", "123456789": "integer"},
    "0": {".": ".", "eE": "e"},
    "integer": {DIGITS: "integer", ".": ".", "eE": "e"},
    ".": {DIGITS: "fraction"},
    "fraction": {DIGITS: "fraction", "eE": "e"},
    "e": {"+-": "e+", DIGITS: "exponent"},
    "e+": {DIGITS: "exponent"},
    "exponent": {DIGITS: "exponent"},
}


class JsonPrefix(NamedTuple):
    """What has to be remembered of the beginning of a JSON text: which brackets are open, and what may come next.

    `JsonPrefix()` is the empty text before any value, `JsonPrefix(mode="object")` before an object. Immutable.
    """

    stack: str = ""  # the open brackets, for example "{[["
    mode: str = "value"
    rest: str = ""  # the letters that are missing of true, false or null, or "xxxx" of an escape \u

    @property
    def distance(self) -> int:
        """How many characters complete the text, at least. 0: it is a complete JSON text as it stands."""
        return len(self.stack) + MISSING[self.mode] + len(self.rest)

    def read(self, text: str) -> JsonPrefix | None:
        """The state after these further characters; None if no JSON text goes on like that. "" changes nothing."""
        state: JsonPrefix | None = self
        for character in text:
            state = state and state._next(character)
        return state

    def _next(self, c: str) -> JsonPrefix | None:
        stack, mode, rest = self
        if rest:
            fits = c in HEX if rest[0] == "x" else c == rest[0]
            return JsonPrefix(stack, mode, rest[1:]) if fits else None
        if mode in ("string", "key string"):
            if c == '"':
                return JsonPrefix(stack, "colon" if mode == "key string" else "end")
            return self._replace(mode=mode.replace("string", "escape")) if c == "\\" else self if c >= " " else None
        if mode in ("escape", "key escape"):
            back = mode.replace("escape", "string")
            return (
                JsonPrefix(stack, back, "xxxx") if c == "u" else JsonPrefix(stack, back) if c in '"\\/bfnrt' else None
            )
        for following, leads_to in NUMBER.get(mode, {}).items():
            if c in following:
                return JsonPrefix(stack, leads_to)
        if mode in NUMBER and MISSING[mode]:  # "-", "1.", "1e": no number yet
            return None
        if c in SPACE:
            return JsonPrefix(stack, "end") if mode in NUMBER else self
        if c in "]}" and (mode in ("first value", "first key", "end") or mode in NUMBER):
            closes = stack[-1:] == {"]": "[", "}": "{"}[c]
            return JsonPrefix(stack[:-1], "end") if closes else None
        if mode in ("first key", "key"):
            return JsonPrefix(stack, "key string") if c == '"' else None
        if mode == "colon":
            return JsonPrefix(stack, "value") if c == ":" else None
        if mode == "end" or mode in NUMBER:
            return JsonPrefix(stack, "key" if stack[-1] == "{" else "value") if c == "," and stack else None
        return self._value(c)

    def _value(self, c: str) -> JsonPrefix | None:
        """The first character of a value."""
        stack = self.stack
        if c == "{":
            return JsonPrefix(stack + c, "first key")
        if self.mode == "object":
            return None
        if c == "[":
            return JsonPrefix(stack + c, "first value")
        if c == '"':
            return JsonPrefix(stack, "string")
        if c in WORDS:
            return JsonPrefix(stack, "end", WORDS[c])
        return JsonPrefix(stack, {"-": "-", "0": "0"}.get(c, "integer")) if c in "-" + DIGITS else None


EMPTY_TEXT = JsonPrefix()


def constrain(
    logits: Tensor, state: JsonPrefix, tokens: Sequence[str], eos_id: int | None = None, budget: int | None = None
) -> Tensor:
    """The logits with -inf for every token that cannot come next in a JSON text.

    logits: (V,) -> (V,)   state: of the text so far   tokens: V strings, what each token writes
    A token may come if the text with it is the beginning of a JSON text. One that writes nothing, "", never may,
    except eos_id: it writes nothing whatever tokens[eos_id] is, and may come only when the text is complete.
    budget: how many tokens may still be written, this one included; None: any number. A token may come only if what
    is then missing (`distance`) fits into the budget - 1 tokens after it, at one character each. eos_id always fits.
    Raises ValueError when no token is left, or only tokens whose logit is -inf.
    """
    # >>> constrain (~12 lines): judge each token by the state it leads to
    allowed = torch.zeros_like(logits, dtype=torch.bool)
    for i, token in enumerate(tokens):
        if i == eos_id:
            allowed[i] = state.distance == 0
        elif token:
            after = state.read(token)
            allowed[i] = after is not None and (budget is None or after.distance <= budget - 1)
    logits = logits.masked_fill(~allowed, -INF)
    if not (logits > -INF).any():
        raise ValueError(f"no token can go on from {state} with a budget of {budget}")
    return logits
    # <<< constrain


@torch.no_grad()
def generate_json(
    next_logits: Callable[[Tensor], Tensor],
    tokens: Sequence[str],
    prompt: Tensor,
    eos_id: int,
    new_tokens: int,
    choose: Callable[[Tensor, Tensor], Tensor],
    start: JsonPrefix = EMPTY_TEXT,
) -> str:
    """A complete JSON text of at most new_tokens tokens, whatever the model would rather say.   prompt: (1, T)"""
    ids, text, state = prompt, "", start
    for left in range(new_tokens, 0, -1):
        logits = constrain(next_logits(ids)[0], state, tokens, eos_id, left)
        ids = torch.cat([ids, choose(logits[None], ids)[:, None]], dim=1)
        if ids[0, -1] == eos_id:
            break
        text += tokens[ids[0, -1]]
        state = state.read(tokens[ids[0, -1]])
    return text


# ---------------------------------------------------------------------------------------------------------------------
# The command line (given); the experiment is in sampling_report.py
# ---------------------------------------------------------------------------------------------------------------------
def main(argv: list[str] | None = None) -> None:
    args = run.arguments(__doc__, PRESETS, argv, device=True)
    from labkit.reference.sampling import sampling_report  # the file beside this one

    sampling_report.show(args, SimpleNamespace(**globals()))


if __name__ == "__main__":
    run.main(main)
