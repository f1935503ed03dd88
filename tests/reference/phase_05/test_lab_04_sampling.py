"""The reference of lab 5.4 against transformers' processors, exhaustive search, by-hand specifications and json."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.reference import mini_transformer
from labkit.reference import sampling as lab

HYPOTHESIS = settings(deadline=None, derandomize=True, max_examples=60)
INF = math.inf


def normal(*shape, seed=0, scale=2.0):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def some_masked(seed):
    logits = normal(4, 30, seed=seed)
    logits[:, seed % 5 :: 5] = -INF
    return logits


# ---------------------------------------------------------------- transformers


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("make", [lambda seed: normal(4, 30, seed=seed), some_masked])
def test_equal_to_transformers(make, seed):
    """Each function is transformers' processor to 1e-6, kept and cut tokens alike."""
    processors = pytest.importorskip("transformers.generation.logits_process")
    logits, ids = make(seed), torch.randint(30, (4, 7), generator=torch.Generator().manual_seed(seed))
    pairs = [
        (lab.apply_temperature(logits, 0.7), processors.TemperatureLogitsWarper(0.7)),
        (lab.penalize(logits, ids, 1.3), processors.RepetitionPenaltyLogitsProcessor(1.3)),
    ]
    for k in (1, 5, 29, 99):
        pairs.append((lab.top_k(logits, k), processors.TopKLogitsWarper(k)))
    for p in (0.0, 0.2, 0.5, 0.9, 0.99, 1.0):
        pairs.append((lab.top_p(logits, p), processors.TopPLogitsWarper(p)))
        pairs.append((lab.min_p(logits, p), processors.MinPLogitsWarper(p)))
        if 0 < p < 1:
            pairs.append((lab.typical(logits, p), processors.TypicalLogitsWarper(p)))
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs(ids, logits), atol=1e-6, rtol=0)


def test_the_sampler_in_the_order_of_transformers():
    """The whole Sampler equals the list of processors that `generate` builds from the same numbers."""
    transformers = pytest.importorskip("transformers")
    numbers = {"temperature": 1.4, "top_k": 20, "top_p": 0.9, "min_p": 0.03, "typical_p": 0.8}
    config = transformers.GenerationConfig(do_sample=True, repetition_penalty=1.3, **numbers)
    small = transformers.LlamaConfig(
        vocab_size=30, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    model = transformers.LlamaForCausalLM(small)
    ids = torch.randint(30, (4, 7), generator=torch.Generator().manual_seed(1))
    theirs = model._get_logits_processor(config, input_ids_seq_length=7)
    logits = normal(4, 30, seed=3)
    ours = lab.Sampler(repetition=1.3, **numbers).process(logits, ids)
    assert (ours == -INF).any() and (ours > -INF).sum() > 4
    torch.testing.assert_close(ours, theirs(ids, logits), atol=1e-6, rtol=0)


# ---------------------------------------------------------------- properties


@HYPOTHESIS
@given(st.integers(0, 10**6), st.floats(0, 1), st.integers(1, 12))
def test_cuts_are_minimal(seed, p, vocab_size):
    """Top-p: what is kept reaches p, without its least likely token it does not; nothing likelier is cut."""
    logits = normal(1, vocab_size, seed=seed)
    kept = lab.top_p(logits, p)[0] > -INF
    probabilities = logits[0].softmax(-1)
    assert kept.any()
    assert probabilities[kept].sum() >= p - 1e-9
    if p < 1 and kept.sum() > 1:
        assert probabilities[kept].sum() - probabilities[kept].min() < p + 1e-9
    if not kept.all():
        assert probabilities[kept].min() >= probabilities[~kept].max()


@pytest.mark.parametrize("cut", [("top_k", 3), ("top_p", 0.7), ("min_p", 0.2), ("typical", 0.6)])
def test_inputs_are_left_alone_and_ties_have_a_rule(cut):
    name, number = cut
    logits = torch.tensor([[1.0, 3, 3, 0, 3, -INF]], dtype=torch.float64)
    before = logits.clone()
    kept = (getattr(lab, name)(logits, number) > -INF)[0].tolist()
    assert torch.equal(logits, before)
    assert kept[1] and not kept[5]
    if name in ("top_k", "min_p"):
        assert kept[1] == kept[2] == kept[4]


def test_draws_follow_the_distribution():
    """Chi-square of 20,000 draws, 10 times; a right sampler fails for one choice of seeds in 100,000 (1e-6 each)."""
    stats = pytest.importorskip("scipy.stats")
    for seed in range(10):
        logits, ids = normal(1, 15, seed=seed, scale=1.0), torch.tensor([[seed % 15]])
        sampler = lab.Sampler(temperature=0.8 + seed / 20, top_k=12, top_p=0.95, repetition=1.2)
        expected = sampler.process(logits, ids)[0].softmax(-1)
        generator = torch.Generator().manual_seed(seed)
        drawn = sampler(logits.expand(20_000, -1), ids.expand(20_000, -1), generator).bincount(minlength=15)
        kept = expected > 0
        assert drawn[~kept].sum() == 0
        assert stats.chisquare(drawn[kept].numpy(), (20_000 * expected[kept]).numpy()).pvalue > 1e-6


# ---------------------------------------------------------------- beam search


def table_model(seed, vocab_size):
    table = normal(vocab_size, vocab_size, vocab_size, seed=seed, scale=1.5)
    return lambda ids: table[ids[:, -2], ids[:, -1]]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0])
def test_wide_beams_equal_enumeration(seed, alpha):
    """Every text of up to 4 tokens over 4, scored one by one: the same ten best."""
    model, eos, prompt = table_model(seed, 4), 3, torch.tensor([1, 2])
    scored = []
    for length in range(1, 5):
        for text in itertools.product(range(4), repeat=length):
            ended = text[-1] == eos
            if eos in text[:-1] or (length < 4 and not ended):
                continue
            log_p = 0.0
            for i, token in enumerate(text):
                before = torch.cat([prompt, torch.tensor(text[:i], dtype=torch.int64)])
                log_p += model(before[None]).log_softmax(-1)[0, token].item()
            scored.append((log_p / length**alpha, list(text)))
    scored.sort(reverse=True)
    found = lab.beam_search(model, prompt, 300, 4, eos, alpha)
    assert len(found) == len(scored)
    assert [h.tokens for h in found[:10]] == [text for _, text in scored[:10]]
    assert [h.score for h in found] == pytest.approx([score for score, _ in scored])


def test_scores_are_those_of_the_model():
    """On a decoder of lab 4.4: each hypothesis's score is ln p of its tokens, computed in one pass over the text."""
    torch.manual_seed(0)
    config = mini_transformer.GPTConfig.llama(vocab_size=11, block_size=16, n_layers=2, n_heads=2, d_model=16)
    net = mini_transformer.MiniGPT(config).double().eval()
    for parameter in net.parameters():
        parameter.data *= 3
    prompt = torch.tensor([3, 1, 4])
    found = lab.beam_search(lambda ids: net(ids)[0][:, -1], prompt, 5, 6, alpha=0.0)
    assert len(found) == 5
    for hypothesis in found:
        text = torch.cat([prompt, torch.tensor(hypothesis.tokens)])
        log_p = net(text[None])[0][0].log_softmax(-1)
        total = sum(log_p[i - 1, text[i]].item() for i in range(3, len(text)))
        assert hypothesis.score == pytest.approx(total, abs=1e-9)


def test_one_beam_is_greedy():
    model, prompt = table_model(1, 6), torch.tensor([0, 1])
    text = lab.generate(model, prompt[None], 8, lambda logits, ids: lab.greedy(logits))
    assert lab.beam_search(model, prompt, 1, 8)[0].tokens == text[0, 2:].tolist()


# ---------------------------------------------------------------- contrastive search


@pytest.mark.parametrize("seed", range(30))
def test_contrastive_by_hand(seed):
    """The formula of Su et al., one candidate and one state at a time."""
    logits, states, context = (
        normal(9, seed=seed, scale=1.0),
        normal(9, 4, seed=seed + 50),
        normal(5, 4, seed=seed + 99),
    )
    alpha, k = 0.1 + 0.8 * (seed % 7) / 7, 1 + seed % 8
    p, best, choice = logits.softmax(-1).tolist(), -INF, None
    for v in sorted(range(9), key=lambda i: -p[i])[:k]:
        likeness = max(
            sum(a * b for a, b in zip(states[v].tolist(), h.tolist(), strict=True)) / float(states[v].norm() * h.norm())
            for h in context
        )
        score = (1 - alpha) * p[v] - alpha * likeness
        if score > best:
            best, choice = score, v
    assert lab.contrastive_step(logits, context, lambda c: states[c], k, alpha) == choice


# ---------------------------------------------------------------- JSON


def is_json(text):
    def refuse(name):
        raise ValueError(name)

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return True


def test_short_texts_agree_with_json():
    """All texts of up to 3 of these characters."""
    for n in range(4):
        for letters in itertools.product('{}[]",:01-.eE+ \\n\tulxtr\u00e9"afs\x1f', repeat=n):
            text = "".join(letters)
            state = lab.JsonPrefix().read(text)
            assert (state is not None and state.distance == 0) == is_json(text), repr(text)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@HYPOTHESIS
@given(values, st.booleans(), st.sampled_from([None, 1]))
def test_every_prefix_can_be_completed(value, ascii_only, indent):
    """json's own output is accepted; the distance of each prefix is 0 exactly where json accepts it."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    for i in range(len(text) + 1):
        state = lab.JsonPrefix().read(text[:i])
        assert state is not None
        assert (state.distance == 0) == is_json(text[:i])
        assert state.distance <= len(text) - i


def test_distance_is_the_shortest_way():
    """From every state within 3 characters of the start, breadth-first search needs `distance` characters."""
    alphabet = '{}[]",:0-.e+ \\utrfalsn'
    reached = {"": lab.JsonPrefix()}
    for _ in range(3):
        reached |= {t + c: s.read(c) for t, s in reached.items() for c in alphabet if s.read(c) is not None}
    for start in set(reached.values()):
        layer, steps = {start}, 0
        while all(s.distance for s in layer) and steps < 4:
            layer = {s.read(c) for s in layer for c in alphabet} - {None}
            steps += 1
        if start.distance <= 4:
            assert steps == start.distance, start


@pytest.mark.parametrize("budget", [2, 3, 7, 40])
def test_any_model_writes_json(budget):
    """Random models with random cuts: always a JSON object within the budget."""
    tokens = [*'{}[]",:01-.eE+ \\utrfalsnx', '": ', '"}', "},{", "true", "", "<end>"]
    for seed in range(200 // budget):
        model = table_model(seed, len(tokens))
        sampler = lab.Sampler(temperature=0.5 + seed % 3, top_k=1 + seed % 9)
        prompt = torch.tensor([[0, 1]])
        text = lab.generate_json(model, tokens, prompt, len(tokens) - 1, budget, sampler, lab.JsonPrefix(mode="object"))
        assert isinstance(json.loads(text), dict)
