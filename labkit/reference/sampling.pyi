# Generated from lab 5.4 by `make skeletons`.
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
PRESETS = {'smoke': {'samples': 2, 'tokens': 6, 'documents': 2}, 'cpu': {'samples': 40, 'tokens': 64, 'documents': 200}, 'full': {'samples': 200, 'tokens': 128, 'documents': 1000}}
INF = math.inf

def between(name: str, value: float, low: float, high: float) -> None:
    """Raises ValueError unless low <= value <= high."""
    ...

def greedy(logits: Tensor) -> Tensor:
    """The token with the largest logit, of equal ones the one with the lowest id.   (B, V) -> (B,) int64"""
    ...

def min_p(logits: Tensor, share: float) -> Tensor:
    """Keeps the tokens that are at least `share` times as probable as the best one. (Given, to show the form.)

    logits: (B, V) -> (B, V): kept logits as they were, -inf for the others.   share: 0 keeps all, 1 the best and ties
    Raises ValueError unless 0 <= share <= 1.      Nguyen et al. 2024
    """
    ...

def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Logits over temperature: below 1 sharper, above 1 flatter. The limit 0 is greedy decoding.

    logits: (B, V) -> (B, V)
    temperature 0: the one token that `greedy` takes keeps its logit, all others become -inf
    Raises ValueError unless temperature is finite and >= 0.
    """
    ...

def top_k(logits: Tensor, k: int) -> Tensor:
    """Keeps the k largest logits, and those equal to the k-th, so that equal tokens are treated alike.

    logits: (B, V) -> (B, V): kept logits as they were, -inf for the others.   k > V keeps all.
    Raises ValueError when k < 1.      Fan et al. 2018
    """
    ...

def keep_mass(logits: Tensor, rank: Tensor, mass: float) -> Tensor:
    """Keeps the first tokens, in the order of rank, whose probabilities together reach `mass`: as few as possible.

    logits: (B, V) -> (B, V): kept logits as they were, -inf for the others
    rank: (B, V), smaller comes first, of equal ones the lower id; any order, not only that of the probabilities
    mass: 0 keeps the first token of each row; 1 keeps every token, however the sum of V probabilities is rounded
    Raises ValueError unless 0 <= mass <= 1.
    """
    ...

def top_p(logits: Tensor, p: float) -> Tensor:
    """Nucleus sampling: the fewest tokens that hold probability p, the most probable first.

    (B, V) -> (B, V)   Raises ValueError unless 0 <= p <= 1.      Holtzman et al. 2020
    """
    ...

def typical(logits: Tensor, mass: float) -> Tensor:
    """Locally typical sampling: first the tokens whose surprise -ln p is closest to the expected one, the entropy.

    (B, V) -> (B, V)   Raises ValueError unless 0 <= mass <= 1.      Meister et al. 2023
    """
    ...

def penalize(logits: Tensor, ids: Tensor, repetition: float=1.0, presence: float=0.0, frequency: float=0.0) -> Tensor:
    """Makes tokens that were used already less likely.

    logits: (B, V)   ids: (B, T) int64, what row b has written so far; T may be 0   -> (B, V)
    First repetition: the logit of each used token is divided by it if positive, multiplied by it if negative, once,
    however often the token was used. Then `presence` is subtracted once from each used token, and `frequency` as many
    times as it was used.
    Raises ValueError unless repetition > 0.      Keskar et al. 2019 (repetition); OpenAI's API (the other two)
    """
    ...

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
        ...

    def __call__(self, logits: Tensor, ids: Tensor, generator: torch.Generator | None=None) -> Tensor:
        """One token per row, drawn from the processed logits.   (B, V), (B, T) -> (B,) int64"""
        ...

@torch.no_grad()
def generate(next_logits: Callable[[Tensor], Tensor], prompt: Tensor, new_tokens: int, choose: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The prompt and new_tokens more.   prompt: (B, T) -> (B, T + new_tokens)   choose: (logits, ids) -> (B,)"""
    ...

class Hypothesis(NamedTuple):
    """tokens: those after the prompt, the end token included if there is one   score: ln p / length^alpha"""
    tokens: list[int]
    score: float

@torch.no_grad()
def beam_search(next_logits: Callable[[Tensor], Tensor], prompt: Tensor, beams: int, new_tokens: int, eos_id: int | None=None, alpha: float=1.0) -> list[Hypothesis]:
    """The best continuations found with at most `beams` unfinished ones in memory, best score first.

    prompt: (T,) int64   next_logits is called once per step, with all live beams in one batch (N, T + step).
    A step: of all one-token continuations of the live beams, those that end in eos_id are finished; of the others, the
    `beams` with the largest ln p live on. After new_tokens steps the live beams are finished as they are.
    score = ln p(new tokens | prompt) / (number of new tokens)^alpha. It ranks finished hypotheses only.
    Returns at most `beams` of them, none of probability 0.      Wu et al. 2016 (length normalisation)
    Raises ValueError when beams < 1 or new_tokens < 1.
    """
    ...

@torch.no_grad()
def contrastive_step(logits: Tensor, context: Tensor, look_ahead: Callable[[Tensor], Tensor], k: int, alpha: float) -> int:
    """The next token by contrastive search: likely, and not like anything the model has just thought.

    argmax over the k most probable v of   (1 - alpha) p(v) - alpha max_j cos(h_v, h_j)
    logits: (V,)   context: (T, D), the model's hidden states h_j of the tokens so far, T >= 1
    look_ahead: candidates (K,) int64 -> (K, D), the hidden state h_v that each would have; called once
    p: the softmax of all V logits.  Tokens of probability 0 are no candidates; k > V is no error.
    Raises ValueError unless k >= 1 and 0 <= alpha <= 1.      Su et al. 2022
    """
    ...
SPACE, DIGITS, HEX = (' \t\n\r', '0123456789', '0123456789abcdefABCDEF')
WORDS = {'t': 'rue', 'f': 'alse', 'n': 'ull'}
MISSING = {'object': 2, 'value': 1, 'first value': 0, 'first key': 0, 'key': 4, 'colon': 2, 'end': 0, 'string': 1, 'key string': 3, 'escape': 2, 'key escape': 4, '-': 1, '0': 0, 'integer': 0, '.': 1, 'fraction': 0, 'e': 1, 'e+': 1, 'exponent': 0}
NUMBER = {'-': {'0': '0', '123456789': 'integer'}, '0': {'.': '.', 'eE': 'e'}, 'integer': {DIGITS: 'integer', '.': '.', 'eE': 'e'}, '.': {DIGITS: 'fraction'}, 'fraction': {DIGITS: 'fraction', 'eE': 'e'}, 'e': {'+-': 'e+', DIGITS: 'exponent'}, 'e+': {DIGITS: 'exponent'}, 'exponent': {DIGITS: 'exponent'}}

class JsonPrefix(NamedTuple):
    """What has to be remembered of the beginning of a JSON text: which brackets are open, and what may come next.

    `JsonPrefix()` is the empty text before any value, `JsonPrefix(mode="object")` before an object. Immutable.
    """
    stack: str = ''
    mode: str = 'value'
    rest: str = ''

    @property
    def distance(self) -> int:
        """How many characters complete the text, at least. 0: it is a complete JSON text as it stands."""
        ...

    def read(self, text: str) -> JsonPrefix | None:
        """The state after these further characters; None if no JSON text goes on like that. "" changes nothing."""
        ...

    def _next(self, c: str) -> JsonPrefix | None:
        ...

    def _value(self, c: str) -> JsonPrefix | None:
        """The first character of a value."""
        ...
EMPTY_TEXT = JsonPrefix()

def constrain(logits: Tensor, state: JsonPrefix, tokens: Sequence[str], eos_id: int | None=None, budget: int | None=None) -> Tensor:
    """The logits with -inf for every token that cannot come next in a JSON text.

    logits: (V,) -> (V,)   state: of the text so far   tokens: V strings, what each token writes
    A token may come if the text with it is the beginning of a JSON text. One that writes nothing, "", never may,
    except eos_id: it writes nothing whatever tokens[eos_id] is, and may come only when the text is complete.
    budget: how many tokens may still be written, this one included; None: any number. A token may come only if what
    is then missing (`distance`) fits into the budget - 1 tokens after it, at one character each. eos_id always fits.
    Raises ValueError when no token is left, or only tokens whose logit is -inf.
    """
    ...

@torch.no_grad()
def generate_json(next_logits: Callable[[Tensor], Tensor], tokens: Sequence[str], prompt: Tensor, eos_id: int, new_tokens: int, choose: Callable[[Tensor, Tensor], Tensor], start: JsonPrefix=EMPTY_TEXT) -> str:
    """A complete JSON text of at most new_tokens tokens, whatever the model would rather say.   prompt: (1, T)"""
    ...

def main(argv: list[str] | None=None) -> None:
    ...
