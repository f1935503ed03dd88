"""The only test code of lab 3.1 that runs beside a learner's file: it builds networks, trains them and listens in."""

import torch
from torch import nn

# ---------------------------------------------------------------- the network


def measures(lab, nats, tokens, text):
    found = lab.compression(nats, tokens, text)
    return [float(found.perplexity), float(found.bits_per_character), float(found.bits_per_byte)]


def cell_with(lab, w_xh, w_hh, b):
    """A cell that holds these weights."""
    cell = lab.VanillaRNNCell(w_xh.size(1), w_xh.size(0)).to(w_xh)
    cell.load_state_dict({"w_xh.weight": w_xh, "w_hh.weight": w_hh, "w_hh.bias": b})
    return cell


def cell_step(lab, x, h, *weights):
    return cell_with(lab, *weights)(x, h).detach()


def cell_gradients(lab, x, h, *weights):
    """What reaches the weights and the state when every entry of h' counts with its own weight."""
    cell, h = cell_with(lab, *weights), h.clone().requires_grad_()
    out = cell(x, h)
    (out * torch.arange(1, out.numel() + 1).to(out).view_as(out)).sum().backward()
    return {"h": h.grad} | {name: p.grad for name, p in cell.named_parameters()}


def network(lab, weights, **how):
    """A CharRNN that holds these weights; the shapes say how large it is."""
    vocab_size, d_model = weights["embedding.weight"].shape
    layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("cells"))
    model = lab.CharRNN(vocab_size, d_model, weights["head.weight"].size(1), layers, **how).to(weights["head.weight"])
    model.load_state_dict(weights)
    return model


def run_network(lab, weights, ids, state=None):
    with torch.no_grad():
        return tuple(network(lab, weights)(ids, state))


def run_in_pieces(lab, weights, ids, widths):
    """The logits of a sequence that is read in pieces, the state handed on, and the last state."""
    model, state, found = network(lab, weights), None, []
    with torch.no_grad():
        for piece in ids.split(widths, dim=1):
            logits, state = model(piece, state)
            found.append(logits)
    return torch.cat(found, dim=1), state


def network_gradients(lab, weights, ids, state, mix):
    """How logits and new state, weighed by mix, depend on the old state and on the weights."""
    model, state = network(lab, weights), state.clone().requires_grad_()
    logits, new_state = model(ids, state)
    ((logits * mix).sum() + new_state.sin().sum()).backward()
    return {"state": state.grad} | {name: p.grad for name, p in model.named_parameters()}


class LeakyCell(nn.Module):
    """Another recurrence: h' = h/2 + A x."""

    def __init__(self, input_width, hidden):
        super().__init__()
        self.a = nn.Linear(input_width, hidden, bias=False)

    def forward(self, x, h):
        return 0.5 * h + self.a(x)


def run_leaky_network(lab, weights, ids, state):
    with torch.no_grad():
        return tuple(network(lab, weights, cell=LeakyCell)(ids, state))


def bptt_without_autograd(lab, *inputs):
    """bptt where torch builds no graph, whatever is asked of it."""
    with torch.inference_mode():
        return tuple(value.clone() for value in lab.bptt(*inputs))


# ---------------------------------------------------------------- training


def train_network(lab, weights, rows, steps, lr, max_norm, passes=1):
    """Losses and final weights after `passes` over the rows with plain SGD."""
    model = network(lab, weights)
    optimizer, losses = torch.optim.SGD(model.parameters(), lr), []
    for _ in range(passes):
        losses += lab.truncated_bptt(model, rows, steps, optimizer, max_norm)
    return {"losses": losses, "weights": {name: p.detach().clone() for name, p in model.named_parameters()}}


def train_beside_its_chunks(lab, weights, rows, steps, lr, max_norm):
    """A parameter of the model whenever a loss is handed out: the step on it must have been taken."""
    model = network(lab, weights)
    optimizer, seen = torch.optim.SGD(model.parameters(), lr), []
    for loss in lab.truncated_bptt(model, rows, steps, optimizer, max_norm):
        seen.append((float(loss), model.head.bias.detach().clone()))
    return seen


class Listening(nn.Module):
    """A small recurrence that notes what it is called with. Its state (1, B, V) is also its logits."""

    def __init__(self, table):
        super().__init__()
        self.table, self.gain = nn.Parameter(table.clone()), nn.Parameter(table.new_tensor(-0.9))
        self.inputs, self.states = [], []

    def forward(self, ids, state=None):
        self.inputs.append(ids)
        self.states.append("none" if state is None else "with graph" if state.requires_grad else "cut off")
        state = self.table.new_zeros(1, ids.size(0), len(self.table)) if state is None else state
        logits = []
        for t in range(ids.size(1)):
            state = torch.tanh(self.gain * state + self.table[ids[:, t]])
            logits.append(state[0])
        return torch.stack(logits, 1), state


def states_handed_on(lab, table, rows, steps):
    """With which kind of state the model is called, chunk after chunk, and the losses."""
    model = Listening(table)
    losses = list(lab.truncated_bptt(model, rows, steps, torch.optim.SGD(model.parameters(), 0.1), 1.0))
    return model.states, losses


# ---------------------------------------------------------------- sampling


def kept_weights(lab, logits, top_p):
    """The probabilities after top-p, largest first: of equal tokens any may be kept."""
    return lab.next_token_distribution(logits, 1.0, None, top_p).sort(-1, descending=True).values


# ---------------------------------------------------------------- generation


def generation(lab, table, prompt, length):
    """The tokens a model goes on with, what it read, and the scores of every choice, which is always the best."""
    model, scores = Listening(table), []

    def choose(logits):
        scores.append(logits.clone())
        return logits.argmax(-1)

    with torch.no_grad():
        made = lab.generate(model, prompt, length, choose)
    read = torch.cat(model.inputs, dim=1) if model.inputs else prompt[:, :0]
    return {
        "tokens": made,
        "read": read[:, : prompt.size(1) + length - 1],
        "read too much": read.size(1) > prompt.size(1) + length,
        "chosen from": scores,
    }


# ---------------------------------------------------------------- n-grams


def continuations(lab, rows, counts):
    found = lab.continuation_counts(lab.Counts(rows, counts))
    return found.rows, found.counts


def continuations_of_text(lab, ids, n):
    found = lab.continuation_counts(lab.count_rows(lab.ngrams(ids, n)))
    return found.rows, found.counts


def every_next_token(lab, train, contexts, vocab_size, discount):
    """P(w | h) for every context and every w: (contexts, V)."""
    rows = [[*context, w] for context in contexts.tolist() for w in range(vocab_size)]
    grams = torch.tensor(rows, dtype=torch.int64).numpy()
    return lab.kneser_ney(train, grams, vocab_size, discount).reshape(len(contexts), vocab_size)


# ---------------------------------------------------------------- everything together


def train_and_write(lab, weights, rows, prompt, how):
    """Losses of two passes, the compression of the rows afterwards, and a greedy continuation."""
    model = network(lab, weights)
    optimizer, losses = torch.optim.SGD(model.parameters(), 0.3), []
    for _ in range(2):
        losses += lab.truncated_bptt(model, rows, 5, optimizer, 1.0)
    nats = lab.token_nats(model, rows)
    text = "é" * nats.numel()
    made = lab.generate(model, prompt, 6, lambda logits: lab.next_token_distribution(logits, *how).argmax(-1))
    spread = lab.next_token_distribution(model(prompt)[0][:, -1].detach(), *how)
    return losses, list(lab.compression(nats.sum().item(), nats.numel(), text)), made, spread


def gradient_both_ways(lab, x, h0, weights, grad_h):
    """The gradient of a recurrence by bptt, and by autograd through the lab's own cell."""
    cell, h0 = cell_with(lab, *weights), h0.clone().requires_grad_()
    states = [h0]
    for step in x:
        states.append(cell(step[None], states[-1][None])[0])
    (torch.stack(states[1:]) * grad_h).sum().backward()
    by_hand = lab.bptt(x, torch.stack(states).detach(), *(w.clone() for w in weights[:2]), grad_h)
    return tuple(by_hand), (cell.w_xh.weight.grad, cell.w_hh.weight.grad, cell.w_hh.bias.grad, h0.grad)
