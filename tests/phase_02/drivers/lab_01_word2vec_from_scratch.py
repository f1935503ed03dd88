"""Drivers of lab 2.1. Models are made here with given tables; gradients come back dense, however they were kept."""

from __future__ import annotations

import sys

import numpy as np
import torch

# ---------------------------------------------------------------- text and draws


def counted(lab, sentences, min_count):
    """The vocabulary of a corpus that can be read once, as a file can."""
    vocabulary = lab.build_vocabulary(iter(sentences), min_count)
    return vocabulary.words, vocabulary.counts


def steps_of_context_table(lab, ids, sentence, window, draws):
    """How many lines of Python the learner's file runs for one context table, and the table."""
    file, steps = lab.context_table.__code__.co_filename, 0

    def trace(frame, event, argument):
        nonlocal steps
        if frame.f_code.co_filename != file:
            return None
        steps += event in ("call", "line")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        table = lab.context_table(ids, sentence, window, draws)
    finally:
        sys.settrace(before)
    return steps, table


# ---------------------------------------------------------------- the two models in PyTorch


def _model(lab, inputs, outputs):
    model = lab.Word2Vec(*inputs.shape).to(inputs.device, inputs.dtype)
    with torch.no_grad():
        model.inputs.weight.copy_(inputs)
        model.outputs.weight.copy_(outputs)
    return model


def _gradients(model, losses, weights):
    (losses * weights).sum().backward()
    found = [table.weight.grad for table in (model.inputs, model.outputs)]
    return [grad.to_dense() if grad is not None and grad.is_sparse else grad for grad in found]


def skip_gram(lab, inputs, outputs, center, context, negatives):
    return _model(lab, inputs, outputs).skip_gram_losses(center, context, negatives).detach()


def skip_gram_slopes(lab, inputs, outputs, center, context, negatives, weights):
    """The gradient of a weighted sum of the losses, in both tables."""
    model = _model(lab, inputs, outputs)
    return _gradients(model, model.skip_gram_losses(center, context, negatives), weights)


def skip_gram_before_training(lab, size, dim, center, context, negatives):
    return lab.Word2Vec(size, dim).to(center.device).skip_gram_losses(center, context, negatives).detach()


def cbow(lab, inputs, outputs, center, table, negatives):
    return _model(lab, inputs, outputs).cbow_losses(center, table, negatives).detach()


def cbow_slopes(lab, inputs, outputs, center, table, negatives, weights):
    """The gradient of a weighted sum of the losses, in both tables."""
    model = _model(lab, inputs, outputs)
    return _gradients(model, model.cbow_losses(center, table, negatives), weights)


# ---------------------------------------------------------------- everything together


def from_text_to_neighbours(lab, sentences, draws, start, steps, lr):
    """The whole lab with every draw given. draws: (3, N) and more; start: a (V', D) table with V' large enough.

    Trains by hand and with autograd from the same tables, and CBOW for as many steps; then asks for neighbours.
    """
    vocabulary = lab.build_vocabulary(sentences, 2)
    ids, sentence = lab.encode(sentences, vocabulary)
    size = len(vocabulary.words)
    n = len(ids)
    kept = draws[0, :n] < lab.keep_probability(vocabulary.counts, 0.05, "c")[ids]
    ids, sentence = ids[kept], sentence[kept]
    table = lab.context_table(ids, sentence, 3, draws[1, : len(ids)])
    center, context = lab.skip_gram_pairs(ids, table)
    negatives = lab.draw_negatives(vocabulary.counts, np.resize(draws[2], (len(center), 4)))

    inputs, outputs = start[:size].copy(), 0.1 * start[::-1][:size].copy()
    model = _model(lab, torch.from_numpy(inputs), torch.from_numpy(outputs))
    other = _model(lab, torch.from_numpy(inputs), torch.from_numpy(outputs))
    by_hand, by_autograd = [], []
    batch = [torch.from_numpy(part) for part in (center, context, negatives)]
    some = (table >= 0).any(1)
    windows = [torch.from_numpy(part) for part in (ids[some], table[some], negatives[: some.sum()])]
    for _ in range(steps):
        losses, d_inputs, d_outputs = lab.sgns_gradients(inputs, outputs, center, context, negatives)
        inputs, outputs = inputs - lr * d_inputs, outputs - lr * d_outputs
        by_hand.append(float(losses.mean()))
        by_autograd.append(_step(model, model.skip_gram_losses(*batch), lr))
        _step(other, other.cbow_losses(*windows), lr)
    found = [lab.nearest(vectors, vectors[0], 5, [0]) for vectors in (inputs, other.inputs.weight.detach().numpy())]
    return {
        "words": vocabulary.words,
        "pairs": np.stack([center, context]),
        "losses by hand": by_hand,
        "losses by autograd": by_autograd,
        "input vectors": inputs,
        "neighbours": [tuple(pair) for pair in found],
    }


def _step(model, losses, lr):
    losses.sum().backward()
    with torch.no_grad():
        for table in model.parameters():
            table.add_(table.grad, alpha=-lr)
            table.grad = None
    return float(losses.detach().mean())
