"""Graded checks of lab 3.3, sequence to sequence with attention."""

import itertools

import numpy as np
import torch

from labkit.grading import WeakDraw, todo, whole_lab

PAD, BOS, EOS = 0, 1, 2
KINDS = (None, "bahdanau", "luong")


def normal(rng, *shape, dtype=torch.float64):
    return torch.from_numpy(rng.standard_normal(shape)).to(dtype)


def random_ids(rng, size, *shape):
    """Symbols: ids from 3 on."""
    return torch.from_numpy(rng.integers(3, size, size=shape))


def random_mask(rng, batch, width, longest=None):
    """Real places on the left; lengths in no order, the longest as wide as the mask unless told otherwise."""
    lengths = rng.integers(1, longest or width, size=batch, endpoint=True)
    lengths[rng.integers(batch)] = longest or width
    return torch.arange(width) < torch.from_numpy(lengths)[:, None]


def random_sources(rng, size, batch, width, longest=None):
    """A padded batch of sources and its mask."""
    mask = random_mask(rng, batch, width, longest)
    return random_ids(rng, size, batch, width).masked_fill(~mask, PAD), mask


def random_targets(rng, size, batch, width):
    """A padded batch of targets; each ends with EOS."""
    mask = random_mask(rng, batch, width)
    target = random_ids(rng, size, batch, width).masked_fill(~mask, PAD)
    return target.scatter(1, mask.sum(1, keepdim=True) - 1, EOS)


def random_attention(rng, kind, hidden, width):
    weights = {"w_k.weight": 0.5 * normal(rng, hidden, width)}
    if kind == "additive":
        weights |= {"w_q.weight": 0.5 * normal(rng, hidden, hidden), "w_q.bias": normal(rng, hidden)}
        weights |= {"v": normal(rng, hidden)}
    return weights


def random_weights(rng, attention, source_size=9, target_size=8, d_model=3, hidden=4):
    """Every parameter of a small Seq2Seq, large enough to tell its parts apart."""
    scale, two = 1.5 / hidden**0.5, 2 * hidden
    shapes = {"source_embedding.weight": (source_size, d_model), "target_embedding.weight": (target_size, d_model)}
    for end in ("", "_reverse"):
        shapes |= {f"encoder.weight_ih_l0{end}": (3 * hidden, d_model), f"encoder.bias_ih_l0{end}": (3 * hidden,)}
        shapes |= {f"encoder.weight_hh_l0{end}": (3 * hidden, hidden), f"encoder.bias_hh_l0{end}": (3 * hidden,)}
    shapes |= {"bridge.weight": (hidden, two), "bridge.bias": (hidden,)}
    shapes |= {"cell.weight_ih": (3 * hidden, d_model + (0 if attention == "luong" else two))}
    shapes |= {"cell.weight_hh": (3 * hidden, hidden), "cell.bias_ih": (3 * hidden,), "cell.bias_hh": (3 * hidden,)}
    shapes |= {"combine.weight": (hidden, hidden + two), "combine.bias": (hidden,)}
    shapes |= {"head.weight": (target_size, hidden), "head.bias": (target_size,)}
    weights = {name: scale * normal(rng, *shape) for name, shape in shapes.items()}
    if attention:
        kind = "additive" if attention == "bahdanau" else "multiplicative"
        weights |= {f"attention.{name}": w for name, w in random_attention(rng, kind, hidden, two).items()}
    return weights


# ---------------------------------------------------------------- pad


@todo("pad")
def test_short_rows_are_filled_on_the_right(grade, rng):
    """Every row begins with its own symbols and goes on with PAD; the mask says which are which."""
    for lengths in ([3, 5, 1, 4], [2, 6], [7, 7, 3]):
        grade("pad", [random_ids(rng, 30, n) for n in lengths])


@todo("pad")
def test_one_row_is_a_batch_too(grade, rng):
    """A single sequence gives a batch of one, all of it real."""
    grade("pad", [random_ids(rng, 30, int(rng.integers(2, 6)))])
    grade("pad", [random_ids(rng, 30, 1), random_ids(rng, 30, 1)])


@todo("pad")
def test_nothing_to_pad_is_an_error(grade, rng):
    """No sequence at all, or an empty one, is refused by name: no decoder could attend to it."""
    grade("pad", [], raises=ValueError, match="sequences")
    grade("pad", [random_ids(rng, 9, 3), random_ids(rng, 9, 0)], raises=ValueError, match="sequences")


# ---------------------------------------------------------------- sequence-loss


@todo("sequence-loss")
def test_mean_over_real_symbols(grade, rng):
    """Every real symbol counts once, EOS too, whatever the length of its row; PAD does not count."""
    for batch, width, size in ((4, 6, 7), (1, 3, 5), (3, 8, 9)):
        grade("sequence_loss", 2 * normal(rng, batch, width, size), random_targets(rng, size, batch, width))


@todo("sequence-loss")
def test_padding_teaches_nothing(grade, rng):
    """Whatever the model says at padding, the loss and its gradient do not change."""
    target = random_targets(rng, 6, 5, 7)
    logits = normal(rng, 5, 7, 6) + 50.0 * normal(rng, 5, 7, 6) * (target == PAD)[:, :, None]
    grade("loss_and_gradient", logits, target)


@todo("sequence-loss")
def test_unlikely_symbols_have_a_finite_loss(grade, rng):
    """A symbol that the model holds for all but impossible costs much, not infinitely much."""
    logits, target = 3_000 * normal(rng, 4, 5, 6), random_targets(rng, 6, 4, 5)
    loss = grade.call("sequence_loss", logits, target)
    assert bool(loss.isfinite()), "with logits in the thousands the loss is not finite"
    grade("sequence_loss", logits, target)


# ---------------------------------------------------------------- scores


@todo("scores")
def test_additive_scores(grade, rng):
    """v · tanh(W_q q + W_k h): one score for each place of the source, from the query of the same row."""
    for batch, places, hidden, width in ((3, 5, 4, 6), (1, 2, 3, 4), (4, 1, 2, 2)):
        weights = random_attention(rng, "additive", hidden, width)
        grade("scores", weights, normal(rng, batch, hidden), normal(rng, batch, places, hidden))


@todo("scores")
def test_multiplicative_scores(grade, rng):
    """q · W_k h: a plain dot product, and nothing divided."""
    for batch, places, hidden, width in ((3, 5, 4, 6), (1, 4, 3, 5), (5, 1, 2, 4), (1, 1, 3, 2), (4, 4, 4, 4)):
        weights = random_attention(rng, "multiplicative", hidden, width)
        grade("scores", weights, normal(rng, batch, hidden), normal(rng, batch, places, hidden))


@todo("scores")
def test_gradients_pass_through_the_scores(grade, rng):
    """Query, keys and the weights of both kinds learn from the scores."""
    for kind in ("additive", "multiplicative"):
        weights = random_attention(rng, kind, 4, 5)
        grade("scores_gradients", weights, normal(rng, 3, 4), normal(rng, 3, 6, 4), normal(rng, 3, 6))


# ---------------------------------------------------------------- attend


@todo("attend")
def test_weights_over_the_real_places(grade, rng):
    """Each row shares out weight 1 among its real places; the context is the mean with these weights."""
    found = grade.call("attend", normal(rng, 2, 3), torch.ones(2, 3, dtype=torch.bool), normal(rng, 2, 3, 4))
    if isinstance(found, tuple) and torch.is_tensor(found[-1]):
        assert found[-1].isfinite().all(), "a row without padding has weights that are not finite"
    for batch, places, width in ((4, 6, 3), (1, 5, 4), (3, 1, 2), (2, 3, 3)):
        mask, values = random_mask(rng, batch, places), normal(rng, batch, places, width)
        grade("attend", 2 * normal(rng, batch, places), mask, values)


@todo("attend")
def test_padding_gets_no_weight_whatever_its_score(grade, rng):
    """A large score at padding does not take weight away from the real places."""
    mask = random_mask(rng, 5, 7, longest=5)
    scores = normal(rng, 5, 7) + 60.0 * ~mask
    _, weights = grade("attend", scores, mask, normal(rng, 5, 7, 3))
    lost = float((weights * ~mask).abs().max())
    assert lost == 0, f"padding has weight {lost:.3g}"
    inputs = scores + 2_000.0 * ~mask, mask, normal(rng, 5, 7, 3)
    context, _ = grade.call("attend", *inputs)
    assert context.isfinite().all(), "a score of 2000 at padding gives a context that is not finite"
    grade("attend", *inputs)


@todo("attend")
def test_scores_of_any_size(grade, rng):
    """Only differences between scores matter, also when all of them are huge, or hugely negative."""
    for shift in (2_000.0, -5e9):
        inputs = normal(rng, 4, 6) + shift, random_mask(rng, 4, 6), normal(rng, 4, 6, 5)
        context, _ = grade.call("attend", *inputs)
        assert context.isfinite().all(), f"scores near {shift:g} give a context that is not finite"
        grade("attend", *inputs, atol=1e-5)  # at -5e9 a logsumexp is off by about 1e-6


@todo("attend")
def test_gradients_pass_through_attention(grade, rng):
    """The context teaches scores and values, and nothing at padding."""
    grade("attend_gradients", normal(rng, 3, 5), random_mask(rng, 3, 5), normal(rng, 3, 5, 4), normal(rng, 3, 4))


# ---------------------------------------------------------------- read


@todo("read", points=2)
def test_each_source_is_read_as_if_alone(grade, rng):
    """Rows of any length in any order: both directions see the real symbols only, and each row keeps its place."""
    for batch, width in ((5, 6), (1, 4), (3, 3)):
        weights = random_weights(rng, None, hidden=int(rng.integers(2, 6)))
        grade("read", weights, None, *random_sources(rng, 9, batch, width))


@todo("read")
def test_padding_wider_than_the_longest_row(grade, rng):
    """The states have as many places as the source, also when no row is that long."""
    grade("read", random_weights(rng, None), None, *random_sources(rng, 9, 4, 9, longest=5))


@todo("read")
def test_what_stands_at_padding_is_not_read(grade, rng):
    """The mask decides what is real, not the ids behind it."""
    _, mask = random_sources(rng, 9, 4, 7)
    grade("read", random_weights(rng, None), None, random_ids(rng, 9, 4, 7), mask)


@todo("read")
def test_gradients_reach_the_encoder(grade, rng):
    """States and summary teach embedding and GRU, in both directions."""
    grade("read_gradients", random_weights(rng, None), None, *random_sources(rng, 9, 3, 5))


# ---------------------------------------------------------------- step


def random_step(rng, attention, batch=3, places=5, hidden=4):
    """Weights, and all that a step is given."""
    weights = random_weights(rng, attention, hidden=hidden)
    mask = random_mask(rng, batch, places)
    token, state = random_ids(rng, 8, batch), normal(rng, batch, hidden)
    states, summary = normal(rng, batch, places, 2 * hidden) * mask[:, :, None], normal(rng, batch, 2 * hidden)
    return weights, attention, token, state, states, mask, summary


@todo("step")
def test_step_without_attention(grade, rng):
    """The summary goes into the cell and into the readout, at every step."""
    grade("step", *random_step(rng, None))
    grade("step", *random_step(rng, None, batch=1, hidden=3))


@todo("step")
def test_bahdanau_looks_then_moves(grade, rng):
    """The old state asks; what it finds goes into the cell and into the readout."""
    grade("step", *random_step(rng, "bahdanau"))
    grade("step", *random_step(rng, "bahdanau", batch=1, places=3))


@todo("step")
def test_luong_moves_then_looks(grade, rng):
    """The cell reads the symbol alone; the new state asks, and both go into the readout."""
    grade("step", *random_step(rng, "luong"))
    grade("step", *random_step(rng, "luong", batch=1, places=3))


@todo("step")
def test_gradients_pass_through_the_step(grade, rng):
    """Old state, memory and every weight learn from one step."""
    for attention in KINDS:
        grade("step_gradients", *random_step(rng, attention, batch=2, places=3))


# ---------------------------------------------------------------- teacher-forcing


@todo("teacher-forcing", points=2)
def test_each_step_reads_the_true_symbol_before(grade, rng):
    """Scores at t are those after BOS and the first t true symbols, for every row and every kind of attention."""
    for attention in KINDS:
        sources, targets = random_sources(rng, 9, 3, 5), random_targets(rng, 8, 3, 4)
        grade("teacher_forced", random_weights(rng, attention), attention, *sources, targets)


@todo("teacher-forcing")
def test_one_symbol_and_one_row(grade, rng):
    """A target of one symbol, EOS, follows BOS; a batch of one is a batch."""
    for batch, width in ((1, 3), (2, 1)):
        targets = random_targets(rng, 8, batch, width)
        grade("teacher_forced", random_weights(rng, "luong"), "luong", *random_sources(rng, 9, batch, 4), targets)


@todo("teacher-forcing")
def test_source_is_read_once(grade, rng):
    """The encoder runs once, the decoder once for each place of the target."""
    sources, targets = random_sources(rng, 9, 3, 4), random_targets(rng, 8, 3, 5)
    grade("work_of_forward", random_weights(rng, "bahdanau"), "bahdanau", *sources, targets)


@todo("teacher-forcing")
def test_error_reaches_the_encoder(grade, rng):
    """Every step's error flows back through all steps before it, and into the encoder."""
    for attention in KINDS:
        sources, targets = random_sources(rng, 9, 2, 3), random_targets(rng, 8, 2, 3)
        grade("teacher_forced_gradients", random_weights(rng, attention), attention, *sources, targets)


# ---------------------------------------------------------------- greedy


def random_decoder(rng, eos, size=7, hidden=5):
    """embedding and head of a TableModel; row 0 of the head is its bias. PAD and BOS are never chosen."""
    head = 1.5 * normal(rng, hidden + 1, size)
    head[1:, :3] = 0
    head[0, :3] = torch.tensor([-1e4, -1e4, eos])
    return normal(rng, size, hidden), head


def decoder_of_many_lengths(rng, max_length):
    """A decoder and states from which rows end in time and at three different times or more, none of them at once."""
    for _ in range(40):
        embedding, head = random_decoder(rng, eos=1.5)
        start = normal(rng, 40, 5)
        state, token, ends = start, torch.full((40,), BOS), torch.zeros(40, dtype=torch.int64)
        for length in range(1, max_length):
            state = torch.tanh(0.7 * state.roll(1, dims=-1) + embedding[token])
            token = (state @ head[1:] + head[0]).argmax(-1)
            ends[(ends == 0) & (token == EOS)] = length
        rows = [int(rng.choice((ends == n).nonzero()[:, 0].numpy())) for n in ends.unique().tolist() if n > 1]
        if len(rows) >= 3:
            return embedding, head, start[rng.permutation(rows)[:5]]
    raise WeakDraw("no decoder ended at three different times")


@todo("greedy", points=2)
def test_each_row_ends_for_itself(grade, rng):
    """A row goes on until its own EOS, which is kept; behind it there is only PAD."""
    for _ in range(2):
        grade("greedy_answer", *decoder_of_many_lengths(rng, 12), 12)


@todo("greedy")
def test_no_step_too_many(grade, rng):
    """When the last row has ended there is nothing left to compute."""
    grade("greedy_steps", *decoder_of_many_lengths(rng, 14), 14)


@todo("greedy")
def test_endless_answers_are_cut(grade, rng):
    """A row without EOS has exactly max_length symbols."""
    for length in (6, 1):
        grade("greedy_answer", *random_decoder(rng, eos=-1e4), normal(rng, 3, 5), length)


# ---------------------------------------------------------------- beam-search


@todo("beam-search", points=2)
def test_best_extensions_of_all_hypotheses_together(grade, rng):
    """Round after round the `width` most probable extensions survive, each with the state of its own beginning."""
    for width in (2, 3, 5):
        grade("beam", *random_decoder(rng, eos=0.5), normal(rng, 1, 5), width, 6, 0.0)


@todo("beam-search")
def test_scores_are_normalised_by_length(grade, rng):
    """log p / length^α decides among finished hypotheses; EOS counts for the length."""
    for alpha, eos in ((1.0, 1.0), (0.6, 3.0), (1.0, 5.0)):  # ended by EOS sometimes, mostly, always
        grade("beam", *random_decoder(rng, eos), normal(rng, 1, 5), 4, 6, alpha)


@todo("beam-search")
def test_beam_of_one_is_greedy(grade, rng):
    """With width 1 the only hypothesis is the greedy one, ended or cut."""
    for eos in (1.5, -1e4):
        grade("beam", *random_decoder(rng, eos), normal(rng, 1, 5), 1, 7, 1.0)


@todo("beam-search")
def test_wide_beam_is_exhaustive(grade, rng):
    """A beam wider than the number of all answers finds the best of them."""
    embedding, head = normal(rng, 5, 4), normal(rng, 5, 5)
    state, longest, alpha = normal(rng, 1, 4), 3, float(rng.choice([0.0, 0.5, 1.0]))
    every = [a for n in range(1, longest + 1) for a in itertools.product(range(5), repeat=n)]
    answers = [a for a in every if EOS not in a[:-1] and (a[-1] == EOS or len(a) == longest)]
    scored = [(*log_p_by_hand(embedding, head, state[0], a, alpha), list(a)) for a in answers]
    score, log_p, tokens = max(scored)
    best = (tokens, log_p, score)
    grade("best_of_beam", embedding, head, state, 5**longest, longest, alpha, expected=best, atol=1e-9)


def log_p_by_hand(embedding, head, state, answer, alpha):
    """Score and log p of one answer of a TableModel, symbol by symbol, in numpy."""
    embedding, head, state, total, token = embedding.numpy(), head.numpy(), state.numpy(), 0.0, BOS
    for symbol in answer:
        state = np.tanh(0.7 * np.roll(state, 1) + embedding[token])
        logits = state @ head[1:] + head[0]
        total += float(logits[symbol] - np.log(np.exp(logits).sum()))
        token = symbol
    return total / len(answer) ** alpha, total


@todo("beam-search")
def test_promising_start_that_leads_nowhere(grade, rng):
    """The likelier first symbol leads to many unlikely endings; two hypotheses are enough to see it."""
    first, second = rng.permutation([3, 4]).tolist()
    p = torch.full((8, 8), 1e-4, dtype=torch.float64)
    p[BOS, first], p[BOS, second] = 0.6, 0.39
    p[first, 5:] = torch.from_numpy(rng.uniform(0.3, 0.36, size=3))
    p[second, EOS] = 0.95
    p[5:, EOS] = 0.9
    found = grade("beam_of_chain", (p / p.sum(1, keepdim=True)).log(), 2, 5)
    assert found[0][0] == [second, EOS], f"the most probable answer is {[second, EOS]}, found first: {found[0][0]}"


@todo("beam-search")
def test_beam_needs_room(grade, rng):
    """Answers that never end are cut at max_length and still come back, also when that is 1."""
    for longest in (4, 1):
        grade("beam", *random_decoder(rng, eos=-1e4), normal(rng, 1, 5), 3, longest, 0.7)


# ---------------------------------------------------------------- the whole lab


def small_task(rng, batch=4):
    """Sources of different length and what is asked for: the source reversed, then EOS."""
    sources = [random_ids(rng, 8, int(n)) for n in rng.permutation([1, 2, 3, 4])[:batch]]
    return sources, [torch.cat([s.flip(0), torch.tensor([EOS])]) for s in sources]


@whole_lab(points=3)
def test_train_every_kind_of_model(grade, rng):
    """Your model, padded and trained with your loss, learns what the reference learns, step by step."""
    for attention in KINDS:
        grade("train_losses", random_weights(rng, attention), attention, *small_task(rng), 2, 0.3, rtol=1e-6)


@whole_lab(points=2)
def test_train_and_search(grade, rng):
    """After some training, your searches give the answers that the reference gives."""
    attention = str(rng.choice(["bahdanau", "luong"]))
    grade("train_and_search", random_weights(rng, attention), attention, *small_task(rng), 4, 0.3, rtol=1e-6)
