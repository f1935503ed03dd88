"""The only test code of lab 3.3 that runs beside a learner's file: it builds models, runs them and listens in."""

import torch

# ---------------------------------------------------------------- loss and attention


def loss_and_gradient(lab, logits, target):
    logits = logits.clone().requires_grad_()
    loss = lab.sequence_loss(logits, target)
    loss.backward()
    return loss.detach(), logits.grad


def attention_with(lab, weights):
    """An Attention that holds these weights; additive if it is given v."""
    kind = "additive" if "v" in weights else "multiplicative"
    hidden, width = weights["w_k.weight"].shape
    attention = lab.Attention(kind, width, hidden).to(weights["w_k.weight"])
    attention.load_state_dict(weights)
    return attention


def scores(lab, weights, query, keys):
    return attention_with(lab, weights).scores(query, keys).detach()


def scores_gradients(lab, weights, query, keys, mix):
    """How the scores, weighed by mix, depend on query, keys and weights."""
    attention = attention_with(lab, weights)
    query, keys = query.clone().requires_grad_(), keys.clone().requires_grad_()
    (attention.scores(query, keys) * mix).sum().backward()
    used = {name: p.grad for name, p in attention.named_parameters() if not name.startswith("w_k")}
    return {"query": query.grad, "keys": keys.grad} | used


def attend_gradients(lab, scores, mask, values, mix):
    scores, values = scores.clone().requires_grad_(), values.clone().requires_grad_()
    context, _ = lab.attend(scores, mask, values)
    (context * mix).sum().backward()
    return scores.grad, values.grad


# ---------------------------------------------------------------- the model


def model_with(lab, weights, attention):
    """A Seq2Seq that holds these weights; the shapes say how large it is."""
    source_size, d_model = weights["source_embedding.weight"].shape
    target_size = weights["head.weight"].size(0)
    hidden = weights["bridge.weight"].size(0)
    model = lab.Seq2Seq(source_size, target_size, d_model, hidden, attention).to(weights["head.weight"])
    model.load_state_dict(weights)
    return model


def gradients_of(model):
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def read(lab, weights, attention, source, mask):
    with torch.no_grad():
        return tuple(model_with(lab, weights, attention).read(source, mask))


def read_gradients(lab, weights, attention, source, mask):
    model = model_with(lab, weights, attention)
    states, summary = model.read(source, mask)
    (states.sin().sum() + (summary**2).sum()).backward()
    return gradients_of(model)


def memory_of(lab, model, states, mask, summary):
    return lab.Memory(states, mask, summary, model.attention.w_k(states) if model.attention else None)


def step(lab, weights, attention, token, state, states, mask, summary):
    with torch.no_grad():
        model = model_with(lab, weights, attention)
        return tuple(model.step(token, state, memory_of(lab, model, states, mask, summary)))


def step_gradients(lab, weights, attention, token, state, states, mask, summary):
    model = model_with(lab, weights, attention)
    given = [x.clone().requires_grad_() for x in (state, states, summary)]
    memory = memory_of(lab, model, given[1], mask, given[2])
    logits, new_state, _ = model.step(token, given[0], memory)
    (logits.sin().sum() + new_state.cos().sum()).backward()
    return [torch.zeros_like(x) if x.grad is None else x.grad for x in given], gradients_of(model)


def teacher_forced(lab, weights, attention, source, mask, target):
    with torch.no_grad():
        return tuple(model_with(lab, weights, attention)(source, mask, target))


def teacher_forced_gradients(lab, weights, attention, source, mask, target):
    """How -ln p of the targets depends on the weights."""
    model = model_with(lab, weights, attention)
    logits, _ = model(source, mask, target)
    log_p = logits.log_softmax(-1).gather(-1, target[:, :, None])[:, :, 0]
    (log_p * (target != lab.PAD)).sum().neg().backward()
    return gradients_of(model)


def work_of_forward(lab, weights, attention, source, mask, target):
    """How often a forward pass reads the source, and what its steps are fed."""
    model = model_with(lab, weights, attention)
    reads, tokens, original_read, original_step = [], [], model.read, model.step

    def counted_read(*args):
        reads.append(1)
        return original_read(*args)

    def counted_step(token, state, memory):
        tokens.append(token)
        return original_step(token, state, memory)

    model.read, model.step = counted_read, counted_step
    with torch.no_grad():
        model(source, mask, target)
    return len(reads), torch.stack(tokens, 1)


# ---------------------------------------------------------------- search


class TableModel:
    """A decoder without a source: a state that bends with every token it reads. It counts the steps it makes."""

    def __init__(self, embedding, head):
        self.embedding, self.head, self.calls = embedding, head, 0

    def __call__(self, token, state):
        self.calls += 1
        state = torch.tanh(0.7 * state.roll(1, dims=-1) + self.embedding[token])
        return state @ self.head[1:] + self.head[0], state


def greedy_answer(lab, embedding, head, state, max_length):
    return lab.greedy(TableModel(embedding, head), state.clone(), max_length)


def greedy_steps(lab, embedding, head, state, max_length):
    model = TableModel(embedding, head)
    tokens = lab.greedy(model, state.clone(), max_length)
    return {"answer": tokens, "calls of step": model.calls}


def beam(lab, embedding, head, state, width, max_length, alpha):
    found = lab.beam_search(TableModel(embedding, head), state.clone(), width, max_length, alpha)
    return [([int(t) for t in h.tokens], float(h.log_p), float(h.score)) for h in found]


def best_of_beam(lab, embedding, head, state, width, max_length, alpha):
    return beam(lab, embedding, head, state, width, max_length, alpha)[0]


def beam_of_chain(lab, log_p, width, max_length):
    """Beam search where the next symbol depends on the previous one alone: log_p (V, V)."""
    found = lab.beam_search(lambda token, state: (log_p[token], state), log_p.new_zeros(1, 2), width, max_length, 0.0)
    return [([int(t) for t in tokens], float(total)) for tokens, total, _ in found]


# ---------------------------------------------------------------- everything together


def train(lab, weights, attention, sources, targets, steps, lr):
    """Losses of plain gradient descent, the padding done by the lab, and the model."""
    model = model_with(lab, weights, attention)
    source, mask = lab.pad(sources)
    target, _ = lab.pad(targets)
    losses = []
    for _ in range(steps):
        logits, looked = model(source, mask, target)
        loss = lab.sequence_loss(logits, target)
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in model.parameters():
                if p.grad is not None:
                    p -= lr * p.grad
        losses.append(loss.item())
    return losses, looked.detach(), model


def train_losses(lab, *inputs):
    return train(lab, *inputs)[:2]


def train_and_search(lab, weights, attention, sources, targets, steps, lr):
    """After a short training: greedy answers to a padded batch, and beam search for its first source."""
    model = train(lab, weights, attention, sources, targets, steps, lr)[2]
    with torch.no_grad():
        memory, state = model.encode(*lab.pad(sources))
        answers = lab.greedy(model.stepper(memory), state, 6)
        memory, state = model.encode(*lab.pad(sources[:1]))
        found = lab.beam_search(model.stepper(memory), state, 3, 6, 1.0)
    return answers, [([int(t) for t in tokens], float(log_p), float(score)) for tokens, log_p, score in found]
