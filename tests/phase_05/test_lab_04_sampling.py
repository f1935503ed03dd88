"""Graded checks of lab 5.4, sampling."""

import json

import torch

from labkit.grading import todo, whole_lab

INF = float("inf")


def normal(rng, *shape, scale=2.0):
    return torch.from_numpy(scale * rng.standard_normal(shape))


def masked(rng, batch, vocab_size, scale=2.0):
    """Random logits, about a third of each row -inf, at least three tokens left."""
    logits = normal(rng, batch, vocab_size, scale=scale)
    for row in logits:
        row[torch.from_numpy(rng.permutation(vocab_size)[: vocab_size // 3])] = -INF
    return logits


def one_left(rng, vocab_size=7):
    """A row in which all but one token are masked."""
    logits = torch.full((1, vocab_size), -INF, dtype=torch.float64)
    logits[0, int(rng.integers(1, vocab_size))] = -1.5
    return logits


# ---------------------------------------------------------------- temperature


@todo("temperature")
def test_temperature_divides(grade, rng):
    """Logits are divided by the temperature; the entropy rises with it; masked tokens stay masked."""
    logits = normal(rng, 3, 9)
    entropies = []
    for temperature in (0.25, 1.0, float(rng.uniform(1.5, 4))):
        got = grade("apply_temperature", logits, temperature)
        entropies.append(torch.distributions.Categorical(logits=got).entropy())
    assert (torch.stack(entropies).diff(dim=0) > 0).all(), "the entropy does not rise with the temperature"
    grade("apply_temperature", masked(rng, 3, 8), 0.7)
    grade("apply_temperature", normal(rng, 2, 5).float(), 1.3)


@todo("temperature")
def test_temperature_zero_is_greedy(grade, rng):
    """At temperature 0 only the largest logit is left, as it was."""
    grade("each", "apply_temperature", normal(rng, 4, 6), [[0.0]])
    grade("apply_temperature", normal(rng, 4, 6) - 9, 0)
    grade("apply_temperature", one_left(rng), 0.0)


@todo("temperature")
def test_temperature_zero_with_ties(grade, rng):
    """Of equal largest logits, temperature 0 leaves the one with the lowest id and no other."""
    logits = torch.from_numpy(rng.integers(0, 3, size=(6, 9)).astype(float))
    grade("each", "apply_temperature", logits, [[0.0]])
    grade("apply_temperature", logits, -0.5, raises=ValueError, match="temperature")


# ---------------------------------------------------------------- top-k


@todo("top-k")
def test_top_k(grade, rng):
    """Each row keeps its own k largest logits, unchanged."""
    logits = normal(rng, 4, 12) - 3
    grade("each", "top_k", logits, [[k] for k in (1, 3, int(rng.integers(4, 11)))])
    grade("top_k", logits.float(), 5)


@todo("top-k")
def test_top_k_ties(grade, rng):
    """Tokens equal to the k-th largest are all kept."""
    logits = torch.from_numpy(rng.integers(0, 4, size=(5, 11)).astype(float))
    grade("each", "top_k", logits, [[1], [2], [3], [5], [7]])


@todo("top-k", edge=True)
def test_top_k_more_than_there_are(grade, rng):
    """k above V keeps everything; masked tokens do not come back, though k is larger than what is left."""
    logits = normal(rng, 2, 6)
    grade("top_k", logits, 6)
    grade("top_k", logits, 50)
    grade("top_k", masked(rng, 3, 9), 8)
    grade("top_k", one_left(rng), 3)
    grade("top_k", logits, 0, raises=ValueError, match="k")


# ---------------------------------------------------------------- keep-mass


@todo("keep-mass", points=2)
def test_top_p(grade, rng):
    """Top-p keeps the fewest tokens that reach p, the one that crosses the line included, each row for itself."""
    logits = normal(rng, 12, 14)
    grade("each", "top_p", logits, [[p] for p in (0.3, 0.6, float(rng.uniform(0.7, 0.95)))])
    exact = torch.tensor([[0.125, 0.5, 0.25, 0.125]], dtype=torch.float64).log()
    grade("top_p", exact, 0.6)
    grade("each", "top_p", torch.zeros(1, 4, dtype=torch.float64), [[0.25], [0.5], [0.75]])  # reached exactly
    grade("top_p", logits.float(), 0.8)


@todo("keep-mass")
def test_any_order(grade, rng):
    """The order is that of rank, whatever the probabilities: typical sampling may drop the best token."""
    logits = normal(rng, 4, 10, scale=1.0)
    grade("each", "keep_mass", logits, [[normal(rng, 4, 10), 0.5]])
    grade("typical", logits, 0.3)
    likely = torch.tensor([[0.4] + [0.06] * 10], dtype=torch.float64).log() + 1e-3 * normal(rng, 1, 11)
    grade("typical", likely, 0.4)


@todo("keep-mass", points=2)
def test_mass_zero_and_one(grade, rng):
    """Mass 0 keeps the first token of each row; mass 1 keeps every token, even where rounded sums reach 1 early."""
    logits = normal(rng, 6, 8)
    grade("each", "keep_mass", logits, [[normal(rng, 6, 8), 0.0]])
    grade("top_p", logits, 0)
    long = (3 * normal(rng, 40, 400)).float()
    got = grade.call("keep_mass", long, -long, 1.0)
    lost = int((got == -INF).sum())
    assert lost == 0, f"mass 1 must keep every token, and {lost} of 16,000 are gone"
    grade("top_p", logits, 1.5, raises=ValueError, match="p")


@todo("keep-mass")
def test_equal_ranks(grade, rng):
    """Of equal ranks the lower id comes first, in vocabularies of any size."""
    grade("each", "keep_mass", torch.zeros(2, 40), [[torch.zeros(2, 40), 0.33]])
    rank = torch.from_numpy(rng.integers(0, 3, size=(3, 60)))
    grade("keep_mass", normal(rng, 3, 60), rank, 0.4)


@todo("keep-mass")
def test_masked_tokens_stay_out(grade, rng):
    """A masked token has no probability and does not come back, also when all but one are masked."""
    for mass in (0.0, 0.5, 0.9, 1.0):
        grade("top_p", masked(rng, 3, 9), mass)
        grade("typical", masked(rng, 3, 9), mass)
    grade("top_p", one_left(rng), 0.5)
    grade("typical", one_left(rng), 0.5)


# ---------------------------------------------------------------- penalties


@todo("penalties")
def test_repetition_pushes_down(grade, rng):
    """The repetition penalty makes used tokens less likely, whatever the sign of their logit, and no other token."""
    ids = torch.from_numpy(rng.integers(0, 10, size=(6, 5)))
    logits = normal(rng, 6, 12) - 1  # nobody used the last two
    grade("penalize", logits, ids, float(rng.uniform(1.2, 2)))
    grade("penalize", -logits.abs(), ids, 1.4)
    grade("penalize", logits.float(), ids, 0.8)


@todo("penalties")
def test_repetition_counts_once(grade, rng):
    """A token used five times is divided once; presence is subtracted once; each row has its own history."""
    ids = torch.from_numpy(rng.integers(0, 9, size=(8, 1)) + rng.integers(0, 3, size=(8, 7)))
    logits = normal(rng, 8, 12)
    grade("penalize", logits, ids, 1.5)
    grade("penalize", logits, ids, 1.0, float(rng.uniform(0.3, 1)))


@todo("penalties")
def test_frequency_counts_every_use(grade, rng):
    """The frequency penalty is subtracted as often as the token was used."""
    ids = torch.from_numpy(rng.integers(0, 4, size=(3, 9)))
    grade("penalize", normal(rng, 3, 6), ids, 1.0, 0.0, float(rng.uniform(0.2, 0.8)))


@todo("penalties")
def test_all_three_penalties(grade, rng):
    """Repetition first, on the logits as they come, then the two subtractions; masked tokens stay masked."""
    ids = torch.from_numpy(rng.integers(0, 8, size=(3, 6)))
    grade("penalize", normal(rng, 3, 8, scale=0.5), ids, 1.8, 0.4, 0.3)
    grade("penalize", masked(rng, 3, 9), torch.arange(9).expand(3, 9).clone(), 1.3, -0.2, 0.1)


@todo("penalties", edge=True)
def test_nothing_written_yet(grade, rng):
    """Without history nothing changes; the neutral numbers change nothing either."""
    logits = normal(rng, 2, 5)
    grade("penalize", logits, torch.zeros(2, 0, dtype=torch.int64), 1.5, 0.5, 0.5)
    grade("penalize", logits, torch.zeros(2, 3, dtype=torch.int64))
    grade("penalize", logits, torch.zeros(2, 3, dtype=torch.int64), 0.0, raises=ValueError, match="repetition")


# ---------------------------------------------------------------- sampler


@todo("sampler")
def test_each_number_reaches_its_function(grade, rng):
    """Every field of the Sampler does its own work, and the defaults change nothing."""
    logits, ids = normal(rng, 3, 12), torch.from_numpy(rng.integers(0, 12, size=(3, 5)))
    grade("process", logits, ids, {"temperature": 0.6})
    grade("processed", logits, ids, [
        {"temperature": 0.0}, {"top_k": 4}, {"top_p": 0.6}, {"min_p": 0.2}, {"typical_p": 0.5},
        {"repetition": 1.4}, {"presence": 0.7}, {"frequency": 0.4}, {"top_p": 0.0}, {"top_k": 99},
    ])  # fmt: skip
    same = grade.call("process", logits, ids, {})
    assert torch.equal(same.cpu(), logits.cpu()), "Sampler() must leave the logits as they are"


@todo("sampler", points=2)
def test_order(grade, rng):
    """Penalties, temperature, top-k, top-p, min-p, typical: each works on what the one before has left."""
    logits, ids = normal(rng, 6, 20), torch.from_numpy(rng.integers(0, 20, size=(6, 8)))
    grade("processed", logits, ids, [
        {"temperature": 2.5, "top_p": 0.7}, {"temperature": 0.4, "min_p": 0.1}, {"repetition": 3.0, "top_k": 3},
        {"repetition": 1.5, "presence": 1.0, "temperature": 0.5}, {"top_k": 6, "top_p": 0.8},
        {"top_p": 0.8, "typical_p": 0.7}, {"min_p": 0.3, "typical_p": 0.6},
        {"top_p": 0.8, "min_p": 0.1}, {"top_p": 0.9, "min_p": 0.05}, {"top_p": 0.95, "min_p": 0.2},
    ])  # fmt: skip


@todo("sampler")
def test_frequencies_of_draws(grade, rng):
    """20,000 draws follow the truncated distribution (chi-square; a right answer fails once in a million)."""
    logits, ids = normal(rng, 12, scale=1.0), torch.zeros(1, dtype=torch.int64)
    numbers = {"temperature": 1.5, "top_k": 8, "top_p": 0.95, "repetition": 1.3}
    expected = grade("process", logits[None], ids[None], numbers)[0].softmax(-1).cpu()
    drawn = grade.call("frequencies", logits, ids, numbers, 20_000, int(rng.integers(2**31))).cpu()
    kept = expected > 0
    assert drawn[~kept].sum() == 0, f"{int(drawn[~kept].sum())} draws of tokens that were cut"
    wanted = 20_000 * expected[kept]
    chi_square, free = float(((drawn[kept] - wanted) ** 2 / wanted).sum()), int(kept.sum()) - 1
    # Wilson and Hilferty's approximation of the quantile; 4.7534 standard deviations leave 1e-6 above.
    limit = free * (1 - 2 / (9 * free) + 4.7534 * (2 / (9 * free)) ** 0.5) ** 3
    assert chi_square < limit, f"chi-square {chi_square:.1f} with {free} degrees of freedom, limit {limit:.1f}"


# ---------------------------------------------------------------- beam search


def table_of(rng, vocab_size, scale=1.5):
    return normal(rng, vocab_size, vocab_size, vocab_size, scale=scale)


PROMPT = torch.tensor([0, 1, 1])


@todo("beam-search", points=2)
def test_finds_the_optimum(grade, rng):
    """With room for every prefix, the best of all texts of up to 4 tokens is found, with and without an end token."""
    table = table_of(rng, 3)
    for alpha in (0.0, 0.7, 2.0):
        grade("beam", table, PROMPT, {"beams": 81, "new_tokens": 4, "eos_id": 2, "alpha": alpha})
    grade("beam", table, PROMPT, {"beams": 27, "new_tokens": 3})


@todo("beam-search", points=2)
def test_beams_compete(grade, rng):
    """A few beams share one ranking: the best continuations live on, whichever beams they come from."""
    table = table_of(rng, 7)
    for beams in (1, 2, 4):
        grade("beam", table, PROMPT, {"beams": beams, "new_tokens": 6, "alpha": 0.0})
    grade("beam", table.float(), PROMPT, {"beams": 3, "new_tokens": 5}, rtol=1e-4)


@todo("beam-search", points=2)
def test_end_token(grade, rng):
    """A text that ended is finished: it takes no beam, is not extended, and is compared by its own length."""
    table = table_of(rng, 6)
    table[..., 5] += 1.0
    for alpha in (0.0, 1.0, 1.5):
        grade("beam", table, PROMPT, {"beams": 3, "new_tokens": 6, "eos_id": 5, "alpha": alpha})


@todo("beam-search")
def test_impossible_continuations(grade, rng):
    """Texts of probability 0 are neither kept nor returned, also when fewer continuations exist than beams."""
    table = table_of(rng, 4)
    table[..., 0] = -INF
    grade("beam", table, PROMPT, {"beams": 30, "new_tokens": 3, "eos_id": 3})
    table[..., 1:3] = -INF  # nothing but the end is possible
    grade("beam", table, PROMPT, {"beams": 4, "new_tokens": 3, "eos_id": 3})
    grade("beam", table, PROMPT, {"beams": 0, "new_tokens": 3}, raises=ValueError, match="beams")


@todo("beam-search")
def test_one_call_per_step(grade, rng):
    """The model is called once per step, with all live beams in one batch and the whole prompt in front."""
    grade("beam_calls", table_of(rng, 6), PROMPT, {"beams": 4, "new_tokens": 5, "eos_id": 2})
    grade("beam_calls", table_of(rng, 3), PROMPT, {"beams": 40, "new_tokens": 6, "eos_id": 1})


# ---------------------------------------------------------------- contrastive search


def contrastive_case(rng, vocab_size=12, width=5, context=4):
    """Logits with many good candidates; states of very different length."""
    states = normal(rng, vocab_size, width) * torch.from_numpy(rng.uniform(0.2, 5, size=(vocab_size, 1)))
    return normal(rng, vocab_size, scale=0.7), normal(rng, context, width), states


@todo("contrastive", points=2)
def test_contrastive_choice(grade, rng):
    """Probability against the likeness to the closest state of the context, measured as a cosine."""
    got = {}
    for i in range(24):
        case = contrastive_case(rng)
        got[i] = grade("contrastive", *case, int(rng.integers(3, 9)), float(rng.uniform(0.2, 0.8)))
    assert len(set(got.values())) > 1, "always the same token"


@todo("contrastive")
def test_only_k_candidates(grade, rng):
    """look_ahead is called once, with the k most probable tokens; k above V is no error."""
    for k in (1, 4, 40):
        grade("contrastive_calls", *contrastive_case(rng), k, 0.5)
    logits, context, states = contrastive_case(rng)
    grade("contrastive", logits, context, states, 5, 0.0)
    grade("contrastive", logits, context, states, 0, 0.5, raises=ValueError, match="k")


@todo("contrastive")
def test_impossible_candidates(grade, rng):
    """A masked token is no candidate, however unlike the context it would be."""
    for _ in range(6):
        logits, context, states = contrastive_case(rng)
        order = torch.from_numpy(rng.permutation(12))
        logits[order[:9]] = -INF
        states[order[:9]] = -context.sum(0) - context[-1]
        grade("contrastive_calls", logits, context, states, 6, 0.9)
        grade("contrastive", logits, context, states, 6, 0.9)


# ---------------------------------------------------------------- constrain

TOKENS = [*'{}[]",:01-.eE+ \\urxflsatn', '"}', '": ', "},{", "true", "nul", "12", "-0", "], ", '\\"', "", "<end>"]
EOS = len(TOKENS) - 1
PREFIXES = [
    "", "{", '{"', '{"a', '{"a"', '{"a":', '{"a": 1', '{"a": -', "[", "[1", "[1,", "[[", '["', '["\\', '["\\u0', "[0",
    "[1.", "[1e", "[tr", '[{"a": []', '{"a": {}', '"x"', "[1]", "12", "-", "[ ", "nul",
]  # fmt: skip


@todo("constrain", points=2)
def test_only_json_goes_on(grade, rng):
    """A token may come only if all its characters continue the JSON text."""
    grade("constrained", normal(rng, len(TOKENS)), TOKENS, EOS, [[text, None] for text in PREFIXES])
    got = grade("constrain_alone", normal(rng, len(TOKENS)).float(), '["', TOKENS, EOS)
    assert bool((got == -INF).any()), "in a string the end must be -inf"


@todo("constrain")
def test_end_only_when_complete(grade, rng):
    """The end token may come exactly when the text is complete, whatever string stands at its id."""
    cases = [[text, None] for text in ("[1]", "12", "[1", '{"a": 1}', "1.", "", "[", "-", '{"a": ', "[-")]
    grade("constrained", normal(rng, len(TOKENS)), TOKENS, EOS, cases)
    grade("constrained", normal(rng, len(TOKENS)), [*TOKENS[:-1], "1"], EOS, cases)
    grade("constrained", normal(rng, len(TOKENS)), [*TOKENS[:-1], ""], EOS, cases)
    grade("constrained", normal(rng, len(TOKENS)), TOKENS, None, [["[1", None]])


@todo("constrain", points=2)
def test_budget(grade, rng):
    """With a budget, what is still missing after the token must fit into the tokens that are left."""
    cases = [[text, {"": 1, "{": 1, '["\\u0': 5}.get(text, 6) + more] for text in PREFIXES for more in (0, 1, 3)]
    grade("constrained", normal(rng, len(TOKENS)), TOKENS, EOS, [*cases, ["[[[", 3], ["[1]", 1]])


@todo("constrain")
def test_nothing_is_left(grade, rng):
    """If no token can go on, or only masked ones, there is a ValueError; masked tokens never come back."""
    logits = normal(rng, len(TOKENS))
    grade("constrained", logits, TOKENS, EOS, [["[[[[", 2]], raises=ValueError)
    logits[[TOKENS.index(c) for c in "[{ "]] = -INF
    grade("constrained", logits, TOKENS, EOS, [["[", None]])
    grade("constrained", logits, TOKENS, EOS, [["", 4]], "object", raises=ValueError)


# ---------------------------------------------------------------- everything


@whole_lab(points=2)
def test_everything_together(grade, rng):
    """Random models, every cut and penalty, and the grammar: each text is valid JSON within its budget."""
    tokens = [*'{}[]",:01-. ', '": ', "true", "<end>"]
    table = normal(rng, len(tokens), len(tokens), len(tokens))
    seeds = [int(s) for s in rng.integers(2**31, size=4)]
    for text in grade.call("json_texts", table, tokens, len(tokens) - 1, 12, seeds):
        try:
            json.loads(text)
        except ValueError as problem:
            raise AssertionError(f"not JSON: {text!r}, {problem}") from None
    grade("process", table[0], torch.zeros(len(tokens), 2, dtype=torch.int64), {"temperature": 0.5, "top_p": 0.9})
    grade("beam", table, PROMPT, {"beams": 3, "new_tokens": 4})
    grade("contrastive", *contrastive_case(rng), 5, 0.6)
