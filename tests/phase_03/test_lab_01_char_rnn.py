"""Graded checks of lab 3.1, Char-RNN."""

import numpy as np
import torch

from labkit.grading import todo, whole_lab

LETTERS = list("abcdefghijklmnopqrstuvwxyz .,")


def normal(rng, *shape, dtype=torch.float64):
    return torch.from_numpy(rng.standard_normal(shape)).to(dtype)


def random_ids(rng, vocab_size, *shape):
    return torch.from_numpy(rng.integers(vocab_size, size=shape))


def random_cell(rng, width, hidden, dtype=torch.float64):
    """w_xh, w_hh and b of moderate size, so that tanh bends but does not saturate."""
    scale = 0.8 / hidden**0.5
    return [scale * normal(rng, *shape, dtype=dtype) for shape in ((hidden, width), (hidden, hidden), (hidden,))]


def random_weights(rng, vocab_size, d_model, hidden, layers, dtype=torch.float64):
    weights = {"embedding.weight": normal(rng, vocab_size, d_model, dtype=dtype)}
    for n in range(layers):
        w_xh, w_hh, b = random_cell(rng, hidden if n else d_model, hidden, dtype)
        weights |= {f"cells.{n}.w_xh.weight": w_xh, f"cells.{n}.w_hh.weight": w_hh, f"cells.{n}.w_hh.bias": b}
    weights |= {
        "head.weight": normal(rng, vocab_size, hidden, dtype=dtype),
        "head.bias": normal(rng, vocab_size, dtype=dtype),
    }
    return weights


def random_text(rng, size, vocab_size):
    """A text in which some tokens follow each other often, so that counts of every size occur."""
    follows = rng.dirichlet(np.full(vocab_size, 0.4), size=vocab_size)
    ids = [int(rng.integers(vocab_size))]
    while len(ids) < size:
        ids.append(int(rng.choice(vocab_size, p=follows[ids[-1]])))
    return np.array(ids)


# ---------------------------------------------------------------- compression


@todo("compression")
def test_three_ways_to_divide_one_total(grade, rng):
    """Perplexity is per token, in nats; bits are per character and per byte of the text, however it was tokenised."""
    text = "".join(rng.choice([*LETTERS, "é", "ß", "→", "語"], size=int(rng.integers(20, 60))))
    grade("measures", float(rng.uniform(20, 60)), len(text) // 3, text)
    grade("measures", float(rng.uniform(20, 60)), len(text) + 5, text)


@todo("compression")
def test_certainty_and_a_fair_choice(grade, rng):
    """Nothing to guess is perplexity 1 and no bits; a fair choice among V tokens is perplexity V and log₂ V bits."""
    size, tokens = int(rng.integers(3, 50)), int(rng.integers(4, 30))
    text = "x" * tokens
    grade("measures", 0.0, tokens, text, expected=[1.0, 0.0, 0.0])
    bits = float(np.log2(size))
    grade("measures", tokens * float(np.log(size)), tokens, text, expected=[float(size), bits, bits], rtol=1e-9)


# ---------------------------------------------------------------- the network


@todo("rnn-cell")
def test_one_step_of_the_cell(grade, rng):
    """The new state is the tanh of both maps and the bias together, for every row by itself."""
    for batch, width, hidden in ((1, 3, 5), (4, 6, 6)):
        grade("cell_step", normal(rng, batch, width), normal(rng, batch, hidden), *random_cell(rng, width, hidden))
    inputs = normal(rng, 3, 4, dtype=torch.float32), normal(rng, 3, 2, dtype=torch.float32)
    grade("cell_step", *inputs, *random_cell(rng, 4, 2, torch.float32))


@todo("rnn-cell")
def test_gradients_pass_through_the_cell(grade, rng):
    """The step can be differentiated: by both weight matrices, the bias and the old state."""
    grade("cell_gradients", normal(rng, 4, 3), normal(rng, 4, 5), *random_cell(rng, 3, 5))


@todo("unroll", points=2)
def test_every_step_of_two_layers(grade, rng):
    """Every layer reads the fresh state of the layer below; the head reads the top layer at every step."""
    for vocab_size, d_model, hidden, layers in ((7, 4, 6, 1), (5, 3, 4, 2), (9, 5, 5, 3)):
        grade(
            "run_network", random_weights(rng, vocab_size, d_model, hidden, layers), random_ids(rng, vocab_size, 3, 6)
        )


@todo("unroll")
def test_state_that_is_handed_in(grade, rng):
    """The given state is where the network starts, and every layer's last state comes back."""
    weights = random_weights(rng, 6, 4, 5, 2)
    grade("run_network", weights, random_ids(rng, 6, 4, 3), normal(rng, 2, 4, 5))
    grade("run_network", weights, random_ids(rng, 6, 2, 1), normal(rng, 2, 2, 5))


@todo("unroll")
def test_reading_in_pieces(grade, rng):
    """A text read in pieces, the state handed on, gives what reading it at once gives."""
    grade("run_in_pieces", random_weights(rng, 6, 3, 5, 2), random_ids(rng, 6, 2, 9), [4, 1, 4])


@todo("unroll")
def test_gradients_pass_through_time(grade, rng):
    """Logits and new state depend, step by step, on the state that was handed in and on every weight."""
    ids, state = random_ids(rng, 5, 2, 4), normal(rng, 2, 2, 4)
    grade("network_gradients", random_weights(rng, 5, 3, 4, 2), ids, state, normal(rng, 2, 4, 5))


@todo("unroll")
def test_other_cells_can_be_put_in(grade, rng):
    """The network calls the cells it was given, whatever recurrence they compute."""
    weights = {"embedding.weight": normal(rng, 6, 3), "head.weight": normal(rng, 6, 4), "head.bias": normal(rng, 6)}
    weights |= {"cells.0.a.weight": normal(rng, 4, 3), "cells.1.a.weight": normal(rng, 4, 4)}
    grade("run_leaky_network", weights, random_ids(rng, 6, 3, 5), normal(rng, 2, 3, 4))


# ---------------------------------------------------------------- backpropagation through time


def random_recurrence(rng, steps, width, hidden):
    """x, h, W_xh, W_hh and the direct gradients, the states being those of the recurrence."""
    w_xh, w_hh, b = random_cell(rng, width, hidden)
    x, h = normal(rng, steps, width), [normal(rng, hidden).tanh()]
    for step in x:
        h.append(torch.tanh(w_xh @ step + w_hh @ h[-1] + b))
    return x, torch.stack(h), w_xh, w_hh, normal(rng, steps, hidden)


@todo("bptt", points=2)
def test_gradient_through_three_steps(grade, rng):
    """Loss at every step: each state is answerable for its own step and for all that follow."""
    grade("bptt", *random_recurrence(rng, 3, 4, 5), atol=1e-10)
    grade("bptt", *random_recurrence(rng, 7, 3, 3), atol=1e-10)


@todo("bptt")
def test_loss_at_the_last_step_only(grade, rng):
    """A loss at the end reaches the first input and the initial state through all the steps between."""
    x, h, w_xh, w_hh, grad_h = random_recurrence(rng, 6, 2, 4)
    grad_h[:-1] = 0
    grade("bptt", x, h, w_xh, w_hh, grad_h, atol=1e-10)
    grade("bptt", *random_recurrence(rng, 1, 3, 2), atol=1e-10)


@todo("bptt")
def test_backward_pass_is_worked_out_by_hand(grade, rng):
    """It needs no graph, and float32 gives float32."""
    inputs = random_recurrence(rng, 4, 3, 5)
    grade("bptt_without_autograd", *inputs, atol=1e-10)
    grade("bptt_without_autograd", *(t.float() for t in inputs), atol=1e-5)


@todo("truncated-bptt", points=2)
def test_losses_and_weights_of_one_pass(grade, rng):
    """Chunk after chunk: loss of the chunk, its own gradient alone, one step. The last chunk may be short."""
    weights = random_weights(rng, 6, 3, 5, 2)
    grade("train_network", weights, random_ids(rng, 6, 3, 12), 4, 0.5, 1e9)
    grade("train_network", weights, random_ids(rng, 6, 2, 7), 3, 0.5, 1e9, 2)


@todo("truncated-bptt")
def test_long_gradients_are_cut_to_length(grade, rng):
    """One length for the gradient of all parameters together; a shorter gradient is left as it is."""
    weights = {name: 3 * w for name, w in random_weights(rng, 6, 3, 5, 1).items()}
    grade("train_network", weights, random_ids(rng, 6, 3, 13), 4, 0.5, 0.3, rtol=1e-5)
    grade("train_network", weights, random_ids(rng, 6, 2, 9), 8, 0.5, 0.02, rtol=1e-5)


@todo("truncated-bptt")
def test_state_lives_on_without_its_graph(grade, rng):
    """Only the first chunk starts from nothing; the others start from the state before, cut off from its past."""
    grade("states_handed_on", normal(rng, 5, 5), random_ids(rng, 5, 3, 14), 4, rtol=1e-5)


@todo("truncated-bptt")
def test_loss_comes_after_its_step(grade, rng):
    """Losses come one by one, as floats, each once the step on it is taken."""
    grade("train_beside_its_chunks", random_weights(rng, 5, 3, 4, 1), random_ids(rng, 5, 2, 10), 3, 0.5, 5.0, rtol=1e-5)


# ---------------------------------------------------------------- sampling


@todo("next-token-distribution")
def test_temperature(grade, rng):
    """Logits are divided by the temperature; the rows are probabilities."""
    logits = 2 * normal(rng, 3, 7)
    for temperature in (1.0, 0.5, 1.7):
        grade("next_token_distribution", logits, temperature)
    grade("next_token_distribution", logits.float(), 0.8)


@todo("next-token-distribution")
def test_temperature_zero_is_greedy(grade, rng):
    """Temperature 0 puts all weight on the largest logit, without dividing by it, also beside top-k and top-p."""
    logits = 3 * normal(rng, 4, 6)
    grade("next_token_distribution", logits, 0.0)
    grade("next_token_distribution", logits.float(), 0, 3, 0.5)
    close = normal(rng, 3, 1) + torch.tensor([0.0, 0.0, 1e-12, 0.0, -1.0], dtype=torch.float64)
    grade("next_token_distribution", close, 0.0)


@todo("next-token-distribution")
def test_top_k(grade, rng):
    """Each row keeps its own k most probable tokens; a k beyond the vocabulary keeps all."""
    logits = 2 * normal(rng, 4, 8)
    for k in (3, 1, 8, 50):
        grade("next_token_distribution", logits, 1.0, k)
    grade("next_token_distribution", logits, 0.6, 4)


@todo("next-token-distribution")
def test_top_p(grade, rng):
    """The token that takes the weight over top_p belongs to the set; at least one token is always kept."""
    grade("next_token_distribution", 0.5 * normal(rng, 5, 9), 1.0, None, 0.8)
    logits = 1.5 * normal(rng, 5, 9)
    for p in (0.05, 0.4, 0.8, 0.95):
        grade("next_token_distribution", logits, 1.0, None, p)


@todo("next-token-distribution")
def test_weights_that_reach_top_p_exactly(grade, rng):
    """The smallest set is enough as soon as its weight equals top_p: two of four equal tokens for top_p = 0.5."""
    for p in (0.5, 0.25, 0.75):
        grade("kept_weights", normal(rng, 3, 1).expand(3, 4).clone(), p)


@todo("next-token-distribution")
def test_temperature_then_top_k_then_top_p(grade, rng):
    """The three apply in this order: top-p counts weight after temperature and among what top-k has left."""
    logits = normal(rng, 20, 10)
    for temperature in (2.0, 0.5):
        for p in (0.5, 0.7, 0.9):
            grade("next_token_distribution", logits, temperature, 5, p)


@todo("generate", points=2)
def test_every_token_is_read_once(grade, rng):
    """The model reads the prompt once and each new token once; the state carries what came before."""
    table = normal(rng, 8, 8)
    grade("generation", table, random_ids(rng, 8, 3, 5), 7)
    grade("generation", table, random_ids(rng, 8, 2, 1), 4)


@todo("generate")
def test_lengths_of_the_continuation(grade, rng):
    """The prompt stands in front of exactly `length` new tokens, also when that is one or none."""
    table, prompt = normal(rng, 7, 7), random_ids(rng, 7, 4, 3)
    grade("generation", table, prompt, 1)
    made = grade.call("generation", table, prompt, 0)["tokens"].tolist()
    assert made == prompt.tolist(), "with length 0 the prompt itself should come back"


# ---------------------------------------------------------------- the floor


@todo("continuation-counts", cuda=False)
def test_kinds_of_tokens_in_front(grade, rng):
    """An n-gram counts once, however often it occurs: what matters is how many different tokens stand in front."""
    rows = np.unique(rng.integers(4, size=(40, 3)), axis=0)
    grade("continuations", rows, rng.integers(1, 9, size=len(rows)))
    grade("continuations_of_text", random_text(rng, 120, 6), 2)


@todo("continuation-counts", cuda=False)
def test_continuations_of_bigrams(grade, rng):
    """From bigrams come single tokens, as rows of width one; the order is that of the rows."""
    rows = np.unique(rng.integers(6, size=(14, 2)), axis=0)
    grade("continuations", rows, rng.integers(1, 5, size=len(rows)))
    grade("continuations_of_text", random_text(rng, 60, 5), 4)


def some_grams(rng, train, n, vocab_size, size=40):
    """n-grams to ask for: half of them from the text, half at random."""
    seen = np.lib.stride_tricks.sliding_window_view(train, n)[rng.integers(len(train) - n + 1, size=size)]
    return np.concatenate([seen, rng.integers(vocab_size, size=(size, n))])


@todo("kneser-ney", points=3, cuda=False)
def test_probabilities_of_all_orders(grade, rng):
    """Occurrences at the highest order, continuation counts below it, each order mixed with the next lower one."""
    for n in (2, 3, 4):
        train = random_text(rng, 90, 5)
        grade("kneser_ney", train, some_grams(rng, train, n, 5), 5)
    grade("kneser_ney", train, some_grams(rng, train, 3, 5), 5, 0.3)


@todo("kneser-ney", cuda=False)
def test_contexts_that_never_occurred(grade, rng):
    """After a context that never occurred the probability is that of the shorter context, not 0 and not NaN."""
    train = random_text(rng, 80, 4)
    grams = some_grams(rng, train, 3, 7)
    grams[::3, 0], grams[1::5, 1] = 5, 6  # 4 to 6 never occur
    grade("kneser_ney", train, grams, 7)


@todo("kneser-ney", cuda=False)
def test_order_one(grade, rng):
    """Order 1 counts occurrences, and leaves some weight to tokens that never occurred."""
    train = random_text(rng, 50, 4)
    grade("kneser_ney", train, np.arange(6)[:, None], 6)


@todo("kneser-ney", cuda=False)
def test_beginning_of_the_text_counts(grade, rng):
    """Continuation counts are those of the whole text: a bigram at its very start has no trigram, but it counts."""
    train = np.concatenate([[5, 4], random_text(rng, 60, 4), [5]])
    grams = np.array([[h, 4, w] for h in range(3) for w in range(6)] + [[0, w, 4] for w in range(6)])
    grade("kneser_ney", train, grams, 6)


@todo("kneser-ney", cuda=False)
def test_weights_after_each_context_sum_to_one(grade, rng):
    """Whatever the context, the probabilities of all tokens sum to 1."""
    train, contexts = random_text(rng, 70, 4), rng.integers(6, size=(12, 2))
    for discount in (0.75, 0.4, 1.0):
        found = np.asarray(grade.call("every_next_token", train, contexts, 6, discount))
        assert np.isfinite(found).all(), "some probabilities are not finite"
        worst = found.sum(1)[np.abs(found.sum(1) - 1).argmax()]
        assert abs(worst - 1) < 1e-9, f"after one context the probabilities sum to {worst:.6f}"


# ---------------------------------------------------------------- the whole lab


@whole_lab(points=3)
def test_train_measure_and_write(grade, rng):
    """Your network, trained by your loop, measured and sampled with your functions, does what the reference does."""
    weights = random_weights(rng, 6, 3, 5, 2)
    rows, prompt = random_ids(rng, 6, 3, 11), random_ids(rng, 6, 2, 3)
    grade("train_and_write", weights, rows, prompt, [0.7, 4, 0.8], rtol=1e-5)


@whole_lab(points=2)
def test_backward_pass_agrees_with_autograd(grade, rng):
    """By hand and by autograd through your cell, the gradient is the same."""
    x, h0, weights, grad_h = normal(rng, 3, 4), normal(rng, 5).tanh(), random_cell(rng, 4, 5), normal(rng, 3, 5)
    by_hand, by_autograd = grade("gradient_both_ways", x, h0, weights, grad_h, atol=1e-10)
    worst = max(float((a - b).abs().max()) for a, b in zip(by_hand, by_autograd))
    assert worst < 1e-10, f"by hand and by autograd differ by {worst:.2g}"


@whole_lab(points=2, cuda=False)
def test_floor_on_a_text(grade, rng):
    """The n-gram floor stands on your continuation counts and your Kneser-Ney."""
    train = random_text(rng, 300, 6)
    grade("continuations_of_text", train, 3)
    grade("kneser_ney", train, some_grams(rng, train, 4, 6), 6)
