"""The reference of lab 4.5 against transformers' BERT and masks, torch's own decoder layer, and T5's format by hand."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from labkit.reference import encoder_variants as lab
from labkit.reference.encoder_variants import bert_weights, encoder_variants_report, topologies


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_real(batch, length, seed=0):
    real = torch.rand(batch, length, generator=generator(seed)) < 0.6
    real[:, 0] = True
    real[0] = True
    return real


# ---------------------------------------------------------------- transformers


SMALL_BERT = {
    "vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 24,
}  # fmt: skip
TOLERANCES = [(torch.float32, 1e-4), (torch.float64, 1e-8)]


def their_bert(kind, dtype, stir=True, **changes):
    """`kind`: BertForMaskedLM or BertModel. stir: weights that no zero or one of a fresh model can hide behind."""
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(**SMALL_BERT | ({"initializer_range": 0.3} if stir else {}) | changes)
    model = getattr(transformers, kind)(config).to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters() if stir else ():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator(1)).to(dtype))
    return model


def bert_batch():
    tokens = torch.randint(61, (4, 9), generator=generator(2))
    return tokens, torch.randint(2, (4, 9), generator=generator(3))


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
@pytest.mark.parametrize("act", bert_weights.GELU)
def test_logits_are_those_of_bert(dtype, tolerance, act):
    theirs = their_bert("BertForMaskedLM", dtype, hidden_act=act)
    mini = bert_weights.from_transformers(theirs)
    tokens, segments = bert_batch()
    labels = tokens.masked_fill(torch.rand(4, 9, generator=generator(4)) > 0.3, lab.IGNORE)
    for real in (torch.ones(4, 9, dtype=torch.bool), random_real(4, 9)):
        with torch.no_grad():
            wanted = theirs(tokens, attention_mask=real.long(), token_type_ids=segments, labels=labels)
            logits, loss = mini(tokens, labels, real, segments)
        assert wanted.logits.std() > 0.3, "logits this small would agree anyway"
        assert bert_weights.worst_difference(logits, wanted.logits, real) < tolerance
        if real.all():
            assert loss.item() == pytest.approx(wanted.loss.item(), abs=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
@pytest.mark.parametrize("act", bert_weights.GELU)
def test_features_are_the_last_hidden_state_of_bert(dtype, tolerance, act):
    theirs = their_bert("BertModel", dtype, hidden_act=act)
    mini = bert_weights.from_transformers(theirs)
    tokens, segments = bert_batch()
    for real in (torch.ones(4, 9, dtype=torch.bool), random_real(4, 9)):
        with torch.no_grad():
            wanted = theirs(tokens, attention_mask=real.long(), token_type_ids=segments).last_hidden_state
            found = mini.features(tokens, real, segments)
        assert bert_weights.worst_difference(found, wanted, real) < tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
def test_a_fresh_bert_of_the_defaults(dtype, tolerance):
    """transformers' own defaults and initialisation, only smaller: exact gelu, dropout 0.1, eps 1e-12."""
    tokens, segments = bert_batch()
    real = random_real(4, 9)
    told = {"attention_mask": real.long(), "token_type_ids": segments}
    masked_lm, encoder = (their_bert(kind, dtype, stir=False) for kind in ("BertForMaskedLM", "BertModel"))
    assert masked_lm.config.hidden_act == "gelu"
    with torch.no_grad():
        logits = bert_weights.from_transformers(masked_lm)(tokens, real=real, segments=segments)[0]
        features = bert_weights.from_transformers(encoder).features(tokens, real, segments)
        wanted = masked_lm(tokens, **told).logits, encoder(tokens, **told).last_hidden_state
    assert bert_weights.worst_difference(logits, wanted[0], real) < tolerance
    assert bert_weights.worst_difference(features, wanted[1], real) < tolerance


def test_the_two_forms_of_gelu_are_two():
    """So that the tests above say something: with the other form the logits are off."""
    tokens, _ = bert_batch()
    logits = [
        bert_weights.from_transformers(their_bert("BertForMaskedLM", torch.float64, hidden_act=act))(tokens)[0]
        for act in ("gelu", "gelu_new")
    ]
    assert (logits[0] - logits[1]).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"hidden_act": "relu"}, "hidden_act: expected one of gelu, gelu_new, gelu_pytorch_tanh, got 'relu'"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings: expected True, got False"),
        ({"is_decoder": True}, "is_decoder: expected False, got True"),
        ({"hidden_dropout_prob": 0.2}, "attention_probs_dropout_prob: expected 0.2, got 0.1"),
    ],
)
def test_what_mini_bert_has_not_is_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        bert_weights.from_transformers(their_bert("BertForMaskedLM", torch.float32, **changes))


def test_masks_are_those_of_transformers():
    from transformers import BertConfig, GPT2Config, masking_utils

    real, x = random_real(4, 7), torch.zeros(4, 7, 8)
    config = BertConfig(hidden_size=8, num_attention_heads=2, attn_implementation="sdpa")
    theirs = masking_utils.create_bidirectional_mask(config=config, inputs_embeds=x, attention_mask=real.long())
    assert torch.equal(lab.padding_mask(real).expand(4, 1, 7, 7), theirs.expand(4, 1, 7, 7))
    config = GPT2Config(n_embd=8, n_head=2, attn_implementation="sdpa")
    theirs = masking_utils.create_causal_mask(
        config=config, inputs_embeds=x, attention_mask=real.long(), past_key_values=None
    )
    assert torch.equal(lab.padding_mask(real, causal=True), theirs)


def test_shift_is_that_of_t5():
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=0)
    targets = torch.randint(1, 20, (4, 6), generator=generator())
    targets[1:, 4:] = lab.IGNORE
    assert torch.equal(lab.shift_right(targets), T5ForConditionalGeneration(config)._shift_right(targets))


def test_masking_has_the_rates_of_transformers_collator():
    """Counts of hidden, replaced, kept, not chosen; 40,000 places, tolerance 5 standard deviations."""
    n, vocab = 40_000, 1004
    ids = torch.randint(4, vocab, (1, n), generator=generator(1))
    choose, change = torch.rand(2, 1, n, generator=generator(2))
    strangers = torch.randint(4, vocab, (1, n), generator=generator(3))
    special = torch.zeros(1, n, dtype=torch.bool)
    special[0, ::10] = True
    inputs, labels = lab.mask_tokens(ids, special, choose, change, strangers)
    asked = labels != lab.IGNORE
    assert not (asked & special).any()
    shares = {
        "asked": (asked.sum() / (~special).sum(), 0.15),
        "hidden": ((asked & (inputs == lab.MASK)).sum() / asked.sum(), 0.8),
        "kept": ((asked & (inputs == ids)).sum() / asked.sum(), 0.1 + 0.1 / 1000),
    }
    for name, (share, wanted) in shares.items():
        deviation = (wanted * (1 - wanted) / (n if name == "asked" else asked.sum().item())) ** 0.5
        assert abs(share.item() - wanted) < 5.5 * deviation, (name, share, wanted)


# ---------------------------------------------------------------- torch's layers


def test_cross_block_is_torchs_decoder_layer():
    """nn.TransformerDecoderLayer with norm_first: the same three branches, packed into other parameters."""
    config = lab.GPTConfig(n_heads=4, d_model=16, d_ff=24)
    ours = lab.CrossBlock(config).double().eval()

    def gelu(x):
        return F.gelu(x, approximate="tanh")

    theirs = nn.TransformerDecoderLayer(16, 4, 24, 0.0, gelu, batch_first=True, norm_first=True).double().eval()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_(generator=generator(5))
        for layer, torchs in ((ours.attention, theirs.self_attn), (ours.cross_attention, theirs.multihead_attn)):
            projections = (layer.q_proj, layer.k_proj, layer.v_proj)
            torchs.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
            torchs.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
            torchs.out_proj.load_state_dict(layer.o_proj.state_dict())
        pairs = (
            (ours.attention_norm, theirs.norm1), (ours.cross_norm, theirs.norm2), (ours.mlp_norm, theirs.norm3),
            (ours.mlp.up_proj, theirs.linear1), (ours.mlp.down_proj, theirs.linear2),
        )  # fmt: skip
        for mine, torchs in pairs:
            torchs.load_state_dict(mine.state_dict())
        x = torch.randn(3, 5, 16, dtype=torch.float64, generator=generator(6))
        memory = torch.randn(3, 7, 16, dtype=torch.float64, generator=generator(7))
        real = random_real(3, 7)
        later = torch.ones(5, 5, dtype=torch.bool).triu(1)
        wanted = theirs(x, memory, tgt_mask=later, memory_key_padding_mask=~real)
        torch.testing.assert_close(ours(x, memory, lab.padding_mask(real)), wanted, atol=1e-9, rtol=1e-9)


def test_padding_never_matters_in_the_encoder_decoder():
    model = lab.MiniT5(lab.GPTConfig(vocab_size=17, block_size=12, n_layers=2, n_heads=2, d_model=8)).double()
    source = torch.randint(4, 17, (1, 6), generator=generator())
    targets = torch.randint(4, 17, (1, 5), generator=generator(1))
    alone = model(source, targets)
    wide = torch.cat([source, torch.full((1, 3), 9)], dim=1)
    longer = torch.cat([targets, torch.full((1, 2), lab.IGNORE)], dim=1)
    logits, loss = model(wide, longer, torch.arange(9)[None] < 6)
    torch.testing.assert_close((logits[:, :5], loss), alone)


# ---------------------------------------------------------------- T5's format, by hand


def test_the_example_of_the_t5_paper():
    """Raffel et al. 2020, figure 2: "Thank you <X> me to your party <Y> week." -> "<X> for inviting <Y> last <Z>"."""
    words = ["Thank", "you", "for", "inviting", "me", "to", "your", "party", "last", "week", "."]
    ids = torch.arange(len(words)) + lab.FIRST
    hidden = torch.tensor([word in ("for", "inviting", "last") for word in words])
    names = {lab.EOS: "</s>", 99: "<X>", 98: "<Y>", 97: "<Z>"} | {lab.FIRST + i: w for i, w in enumerate(words)}
    inputs, targets = (" ".join(names[i] for i in side.tolist()) for side in lab.corrupt_spans(ids, hidden, 99))
    assert inputs == "Thank you <X> me to your party <Y> week . </s>"
    assert targets == "<X> for inviting <Y> last <Z> </s>"


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(4, 50), st.booleans()), min_size=1, max_size=30))
def test_corrupted_text_can_be_put_together_again(pairs):
    ids, hidden = (torch.tensor(side) for side in zip(*pairs))
    inputs, targets = (side.tolist() for side in lab.corrupt_spans(ids, hidden, 99))
    assert inputs[-1] == targets[-1] == lab.EOS
    runs, name = {}, None
    for token in targets[:-1]:
        if token > 50:
            name = token
            assert name not in runs
            runs[name] = []
        else:
            runs[name].append(token)
    assert list(runs) == [99 - k for k in range(len(runs))] and runs.pop(min(runs)) == []
    whole = [piece for token in inputs[:-1] for piece in (runs[token] if token > 50 else [token])]
    assert whole == ids.tolist()
    assert len(inputs) + len(targets) == len(ids) + 2 * len(runs) + 3


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(2, 600), st.floats(0.05, 0.6), st.floats(1, 6), st.integers(0, 999))
def test_random_spans(length, density, mean_span, seed):
    hidden = topologies.random_spans(length, generator(seed), density, mean_span)
    n_hidden = min(max(round(length * density), 1), length - 1)
    n_spans = min(max(round(n_hidden / mean_span), 1), length - n_hidden)
    assert hidden.shape == (length,) and hidden.sum() == n_hidden
    assert not hidden[0] and hidden[-1]  # visible first, hidden last, as in T5's code
    assert (hidden[1:] & ~hidden[:-1]).sum() == n_spans


def test_t5_hides_15_percent_in_spans_of_3():
    """512 tokens: 77 hidden in 26 spans."""
    hidden = topologies.random_spans(512, generator())
    assert hidden.sum() == 77 and (hidden[1:] & ~hidden[:-1]).sum() == 26


def test_all_cuts_are_equally_likely():
    """5 visible and 3 hidden tokens in 2 spans: 4 · 2 ways. Chi-square with 7 degrees of freedom, 24.3 is p = 0.001."""
    g, counts = generator(1), {}
    for _ in range(1600):
        hidden = topologies.random_spans(8, g, density=3 / 8, mean_span=1.5)
        counts[tuple(hidden.tolist())] = counts.get(tuple(hidden.tolist()), 0) + 1
    assert len(counts) == 8
    assert sum((n - 200) ** 2 / 200 for n in counts.values()) < 24.3


# ---------------------------------------------------------------- the contest


@pytest.mark.parametrize("case", topologies.CASES)
def test_hidden_places_of_the_contest(case):
    hidden = topologies.hide(case, 500, generator())
    half = topologies.HALF
    assert (hidden.sum(1) == 2).all() and not (hidden[:, 1:] & hidden[:, :-1]).any() and not hidden[:, 0].any()
    first, second = hidden[:, :half], hidden[:, half:]
    if case == "twins":
        assert torch.equal(first, second)
    else:
        assert not (first if case == "left" else second).any()


@pytest.mark.parametrize("name", topologies.MODELS)
def test_contestants_are_judged_by_what_they_write(name, monkeypatch):
    """One that always draws the letter that stands there gets 100 % (GPT and T5 by their logits), a mute one 0."""
    config = lab.GPTConfig(vocab_size=topologies.VOCAB, block_size=32, n_layers=1, n_heads=2, d_model=8)
    contestant = topologies.MODELS[name](SimpleNamespace(**vars(lab)), config)
    args = SimpleNamespace(examples=20, device="cpu", steps=2, checks=1)
    scores = topologies.judge(contestant, args, 0)
    assert set(scores) == set(topologies.CASES) and all(0 <= s <= 1 for s in scores.values())
    monkeypatch.setattr(type(contestant), "fill", lambda self, text, hidden, sample: text)
    assert set(topologies.judge(contestant, args, 0).values()) == {1.0}
    monkeypatch.setattr(type(contestant), "fill", lambda self, text, hidden, sample: text.masked_fill(hidden, -1))
    assert set(topologies.judge(contestant, args, 0).values()) == {0.0}
    losses, way = topologies.train(contestant, args, 0)
    assert len(losses) == 2 and all(loss > 0 for loss in losses) and way == {"step": [2], "left": [0.0]}


def test_span_writers_put_letters_where_they_belong(monkeypatch):
    config = lab.GPTConfig(vocab_size=topologies.VOCAB, block_size=32, n_layers=1, n_heads=2, d_model=8)
    writer = topologies.SpanWriter(SimpleNamespace(**vars(lab)), config)
    text, hidden = topologies.texts(9, generator()), topologies.hide("right", 9, generator(1))
    answer = writer.corrupt(text, hidden)[1]
    monkeypatch.setattr(writer, "write", lambda source, length, sample: answer)
    assert torch.equal(writer.fill(text, hidden, False), text)
    monkeypatch.setattr(writer, "write", lambda source, length, sample: answer.roll(1, dims=1))
    assert (writer.fill(text, hidden, False)[hidden] == -1).all()


def test_patience_is_read_off_the_way():
    ways = [{"step": [10, 20, 30], "left": left} for left in ([0.1, 0.9, 0.8], [0.95, 1.0, 1.0], [0.0, 0.1, 0.2])]
    assert [encoder_variants_report.steps_to(0.9, way) for way in ways] == [20, 10, None]
    assert encoder_variants_report.patience([{"way": way} for way in ways]) == "10-never"
    assert encoder_variants_report.patience([{"way": way} for way in ways[:2]]) == "10-20"
    assert encoder_variants_report.patience([{}]) == ""


def test_two_processes_find_what_one_finds(monkeypatch):
    monkeypatch.setattr(topologies, "MODELS", {"BERT": topologies.AllAtOnce})
    namespace = SimpleNamespace(**vars(lab))
    sizes = {"steps": 3, "checks": 1, "seed": 0, "seeds": 2, "examples": 8, "width": 8, "device": "cpu"}
    torch.set_num_threads(1)
    alone, together = (list(topologies.all_runs(namespace, SimpleNamespace(**sizes, workers=n))) for n in (1, 2))
    assert alone == together and [set(found) for found in alone] == [{"BERT", "BERT, one by one"}] * 2
