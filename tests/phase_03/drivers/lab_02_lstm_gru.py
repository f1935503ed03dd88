"""The only test code of lab 3.2 that runs beside a learner's file: it builds cells and networks and runs them."""

import torch


def widths(lab, cases):
    """matched_hidden of one case after another: budget, blocks, biases, d_model, vocab_size."""
    return [lab.matched_hidden(*case) for case in cases]


def cell_with(lab, kind, weights):
    """A cell of this kind that holds these weights: w_x, b_x, w_h, b_h."""
    w_x, b_x, w_h, b_h = weights
    cell = getattr(lab, kind)(w_x.size(1), w_h.size(1)).to(w_x)
    cell.load_state_dict({"w_x.weight": w_x, "w_x.bias": b_x, "w_h.weight": w_h, "w_h.bias": b_h})
    return cell


def cell_step(lab, kind, x, state, weights):
    with torch.no_grad():
        return cell_with(lab, kind, weights)(x, state)


def cell_steps(lab, kind, xs, state, weights):
    """The states of several steps, one after another."""
    cell, states = cell_with(lab, kind, weights), []
    with torch.no_grad():
        for x in xs:
            state = cell(x, state)
            states.append(state)
    return torch.stack(states)


def cell_gradients(lab, kind, x, state, weights, mix):
    """What reaches input, state and parameters when every entry of the new state counts with its weight in mix."""
    cell = cell_with(lab, kind, weights)
    x, state = x.clone().requires_grad_(), state.clone().requires_grad_()
    (cell(x, state) * mix).sum().backward()
    return {"x": x.grad, "state": state.grad} | {name: p.grad for name, p in cell.named_parameters()}


def forget_sums(lab, weights, values):
    """b_f of an LSTM cell, the sum of its two biases, after it was set to each value in turn: (values, F)."""
    cell, found = cell_with(lab, "LSTMCell", weights), []
    for value in values:
        cell.set_forget_bias(value)
        found.append((cell.w_x.bias + cell.w_h.bias).detach().chunk(4)[1])
    return torch.stack(found)


def forget_biases(lab, weights, values):
    """Summed biases of an LSTM cell by block, after its forget bias was set to each value; and what else there is."""
    cell, found = cell_with(lab, "LSTMCell", weights), []
    before = [id(p) for p in cell.parameters()]
    for value in values:
        cell.set_forget_bias(value)
        summed = (cell.w_x.bias + cell.w_h.bias).detach().clone()
        others = torch.cat([b.detach().unflatten(0, (4, -1))[[0, 2, 3]] for b in (cell.w_x.bias, cell.w_h.bias)])
        found.append((summed.unflatten(0, (4, -1)), others))
    state = {
        "weights": [cell.w_x.weight.detach().clone(), cell.w_h.weight.detach().clone()],
        "same parameters": [id(p) for p in cell.parameters()] == before,
        "trainable": all(p.requires_grad and p.is_leaf for p in cell.parameters()),
    }
    return found, state


def new_cell(lab, width, hidden, bias):
    """The summed biases of a new LSTM cell."""
    cell = lab.LSTMCell(width, hidden, bias)
    return (cell.w_x.bias + cell.w_h.bias).detach().clone()


def backward_without_autograd(lab, *inputs):
    """lstm_backward where torch builds no graph, whatever is asked of it."""
    with torch.inference_mode():
        return tuple(value.clone() for value in lab.lstm_backward(*inputs))


# ---------------------------------------------------------------- the network


class Leaky(torch.nn.Module):
    """A recurrence with two parts, written to tell them apart: h' = x A + h/2 + c/4, c' = c/3 + h, both seen whole."""

    parts = 2

    def __init__(self, input_width, hidden):
        super().__init__()
        self.a = torch.nn.Linear(input_width, hidden, bias=False)
        self.hidden = hidden

    def forward(self, x, state):
        h, c = state[:, : self.hidden], state[:, self.hidden :]
        return torch.cat([self.a(x) + h / 2 + c / 4, c / 3 + h + 1], dim=-1)


class Simple(torch.nn.Module):
    """A recurrence of one part that says nothing about parts, as the cell of lab 3.1."""

    def __init__(self, input_width, hidden):
        super().__init__()
        self.a = torch.nn.Linear(input_width, hidden, bias=False)

    def forward(self, x, h):
        return torch.tanh(self.a(x) - 0.7 * h)


CELLS = {"leaky": Leaky, "simple": Simple}


def network(lab, cell, weights):
    """A GatedRNN of these cells that holds these weights; the shapes say how large it is."""
    vocab_size, d_model = weights["embedding.weight"].shape
    layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("cells"))
    make = CELLS.get(cell) or getattr(lab, cell)
    model = lab.GatedRNN(vocab_size, d_model, weights["head.weight"].size(1), layers, make)
    model.to(weights["head.weight"]).load_state_dict(weights)
    return model


def run_network(lab, cell, weights, ids, state=None):
    with torch.no_grad():
        return tuple(network(lab, cell, weights)(ids, state))


def run_in_pieces(lab, cell, weights, ids, widths):
    """The logits of a sequence that is read in pieces, the state handed on, and the last state."""
    model, state, found = network(lab, cell, weights), None, []
    with torch.no_grad():
        for piece in ids.split(widths, dim=1):
            logits, state = model(piece, state)
            found.append(logits)
    return torch.cat(found, dim=1), state


def network_gradients(lab, cell, weights, ids, state, mix):
    """How logits and new state, weighed by mix, depend on the old state and on the weights."""
    model, state = network(lab, cell, weights), state.clone().requires_grad_()
    logits, new_state = model(ids, state)
    ((logits * mix).sum() + new_state.sin().sum()).backward()
    return {"state": state.grad} | {name: p.grad for name, p in model.named_parameters()}


# ---------------------------------------------------------------- everything together


def train_on_copy(lab, cell, weights, batches, lag, n_symbols, lr):
    """Losses of plain gradient descent on the delayed copy, one batch per step, and the last gradient of the head."""
    model, losses = network(lab, cell, weights), []
    for symbols in batches:
        inputs, targets = lab.delayed_copy(symbols, lag, n_symbols)
        logits, _ = model(inputs)
        kept = targets != lab.IGNORED
        loss = torch.nn.functional.cross_entropy(logits[kept], targets[kept])
        model.zero_grad()
        loss.backward()
        losses.append(float(loss))
        with torch.no_grad():
            for p in model.parameters():
                p -= lr * p.grad
    return losses


def sizes(lab, budget, d_model, vocab_size):
    """Hidden width and true parameter count of an LSTM and a GRU network as large as the budget allows."""
    found = []
    for cell, blocks in (("LSTMCell", 4), ("GRUCell", 3)):
        hidden = lab.matched_hidden(budget, blocks, 2, d_model, vocab_size)
        model = lab.GatedRNN(vocab_size, d_model, hidden, cell=getattr(lab, cell))
        found.append([hidden, sum(p.numel() for p in model.parameters())])
    return found


def step_both_ways(lab, x, state, weights, grad_h, grad_c):
    """The backward step by hand and by autograd through the lab's own cell."""
    cell, hidden = cell_with(lab, "LSTMCell", weights), state.size(1) // 2
    state = state.clone().requires_grad_()
    new = cell(x, state)
    (new * torch.cat([grad_h, grad_c], dim=1)).sum().backward()
    with torch.no_grad():
        h, c = state.split(hidden, dim=1)
        before = (x @ cell.w_x.weight.T + cell.w_x.bias + h @ cell.w_h.weight.T + cell.w_h.bias).split(hidden, dim=1)
        gates = torch.cat([b.tanh() if n == 2 else b.sigmoid() for n, b in enumerate(before)], dim=1)
        grad_gates, grad_c_old = lab.lstm_backward(gates, c, new[:, hidden:], grad_h, grad_c)
    return (grad_gates @ cell.w_h.weight.detach(), grad_gates.sum(0), grad_c_old), (
        state.grad[:, :hidden],
        cell.w_h.bias.grad,
        state.grad[:, hidden:],
    )
