"""The only test code of lab 1.4 that runs beside a learner's file: it builds graphs, models and loops, and reports."""

import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

# ---------------------------------------------------------------- the scalar autograd


def build(lab, numbers, program):
    """All nodes of a program: its leaves, then one node per step (op, index, second index or exponent)."""
    nodes = [lab.Value(number) for number in numbers]
    for op, i, other in program:
        a = nodes[i]
        if op == "add":
            nodes.append(a + nodes[other])
        elif op == "mul":
            nodes.append(a * nodes[other])
        elif op == "pow":
            nodes.append(a**other)
        else:
            nodes.append(getattr(a, op)())
    return nodes


def gradients(lab, numbers, program, times=1):
    """The grad of every leaf and of every other node after `times` backward passes from the last node."""
    nodes = build(lab, numbers, program)
    for _ in range(times):
        nodes[-1].backward()
    grads = [node.grad for node in nodes]
    return {"leaves": grads[: len(numbers)], "others": grads[len(numbers) :]}


def two_outputs(lab, numbers, program, first):
    """The grads of the leaves after a backward pass from node `first` and then one from the last node."""
    nodes = build(lab, numbers, program)
    nodes[first].backward()
    nodes[-1].backward()
    return [node.grad for node in nodes[: len(numbers)]]


def slopes(lab, numbers, program):
    """local_slopes of every node, under what the node computes: {"mul(0.5, -1.2)": (-1.2, 0.5), ...}."""
    return {describe(node): plain_slopes(lab.local_slopes(node)) for node in build(lab, numbers, program)}


def describe(node):
    """A node's operation on its parents' numbers, shortened: "pow(0.53, -1)"."""
    numbers = [parent.data for parent in node.parents] or [node.data]
    numbers += [node.exponent] if node.op == "pow" else []
    return f"{node.op or 'leaf'}({', '.join(format(number, '.3g') for number in numbers)})"


def plain_slopes(slopes):
    """A tuple or list of numbers as a tuple of floats; anything else as it came, so that the comparison can name it."""
    if not isinstance(slopes, tuple | list):
        return slopes
    return tuple(float(slope) if isinstance(slope, bool | int | float) else slope for slope in slopes)


def order_report(lab, numbers, program):
    """What is wrong with the topological order of the last node's graph, in counts."""
    nodes = build(lab, numbers, program)
    return report(lab, nodes[-1])


def deep_order_report(lab, depth):
    """The same for a chain of `depth` operations, in which every node but the first has two parents."""
    node = lab.Value(1.0)
    one = lab.Value(1.0)
    for _ in range(depth):
        node = node + one
    return report(lab, node)


def report(lab, root):
    """Six findings about the order of root's graph, each as (what, how many or whether); no order as it came."""
    order = lab.topological_order(root)
    if not hasattr(order, "__iter__"):
        return order
    order = list(order)
    needed, stack = {id(root)}, [root]
    while stack:
        for parent in stack.pop().parents:
            if id(parent) not in needed:
                needed.add(id(parent))
                stack.append(parent)
    place = {}
    early = twice = 0
    for node in order:
        twice += id(node) in place
        early += any(id(parent) not in place for parent in node.parents)
        place[id(node)] = True
    return [
        ("listed", len(order)),
        ("missing", len(needed - set(place))),
        ("not in the graph", len(set(place) - needed)),
        ("listed again", twice),
        ("listed before a parent", early),
        ("root is last", bool(order) and order[-1] is root),
    ]


# ---------------------------------------------------------------- regression


def without_autograd(lab, name, *inputs):
    """Calls a function of the lab where torch builds no graph, whatever is asked of it."""
    with torch.inference_mode():
        return tuple(value.clone() for value in getattr(lab, name)(*inputs))


def needs_grad(lab, x, y, lr, steps):
    """Whether fit_by_autograd's answers are still tied to a graph, and how many losses came."""
    w, b, losses = lab.fit_by_autograd(x, y, lr, steps)
    return {"w.requires_grad": w.requires_grad, "b.requires_grad": b.requires_grad, "losses": len(losses)}


def describe_module(lab, features, *dtype):
    """Shape, dtype, trainability and whether all is zero, for every parameter; and the names of the buffers."""
    model = lab.LinearRegression(features, *dtype)
    parameters = {
        name: (list(p.shape), p.dtype, p.requires_grad, bool((p == 0).all())) for name, p in model.named_parameters()
    }
    return {"parameters": parameters, "buffers": [name for name, _ in model.named_buffers()]}


def module_gradients(lab, x, y, weight, bias):
    """The gradients that reach the module's parameters once weight and bias are loaded into it."""
    model = lab.LinearRegression(x.size(1), x.dtype).to(x.device)
    model.load_state_dict({"weight": weight, "bias": bias})
    loss = (model(x)[:, 0] - y).pow(2).mean()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def batches(lab, x, y, order, batch_size):
    return [tuple(pair) for pair in lab.minibatches(x, y, order, batch_size)]


class OtherOrderEachTime(Sampler):
    """The numbers of the rows, begun one further on each time the rows are walked: a shuffle without chance."""

    def __init__(self, rows):
        self.rows, self.walks = rows, 0

    def __iter__(self):
        start, self.walks = self.walks % self.rows, self.walks + 1
        return iter([*range(start, self.rows), *range(start)])

    def __len__(self):
        return self.rows


def train_linear(lab, x, y, weight, bias, settings, batch_size, epochs):
    """`train` on an nn.Linear with a DataLoader that changes the order each epoch: losses and final parameters."""
    model = nn.Linear(x.size(1), 1, dtype=x.dtype, device=x.device)
    model.load_state_dict({"weight": weight, "bias": bias})
    settings = dict(settings)
    optimizer = getattr(torch.optim, settings.pop("name"))(model.parameters(), **settings)
    batches = DataLoader(TensorDataset(x, y), batch_size=batch_size, sampler=OtherOrderEachTime(len(x)))
    losses = lab.train(model, batches, optimizer, epochs)
    return {"losses": losses, "weight": model.weight.detach().clone(), "bias": model.bias.detach().clone()}


# ---------------------------------------------------------------- the two-layer network and the update rules


def mlp(lab, x, y, parameters):
    """Loss and gradients of the network."""
    loss, gradient = lab.mlp_gradient(x, y, lab.MLP(*parameters))
    return {"loss": loss, **dict(zip(["w1", "b1", "w2", "b2"], gradient))}


def mlp_without_autograd(lab, x, y, parameters):
    """The same where torch builds no graph, whatever is asked of it."""
    with torch.inference_mode():
        return {name: value.clone() for name, value in mlp(lab, x, y, parameters).items()}


def sgd_once(lab, p, grad, velocity, settings):
    return tuple(lab.sgd_step(p, grad, velocity, **settings))


def sgd_path(lab, p, grads, settings):
    """The parameter after every step, and the velocity after the last."""
    path, velocity = [], torch.zeros_like(p)
    for grad in grads:
        p, velocity = lab.sgd_step(p, grad, velocity, **settings)
        path.append(p.clone())
    return torch.stack(path), velocity


def adamw_once(lab, p, grad, m, v, step, settings):
    return tuple(lab.adamw_step(p, grad, m, v, step, **settings))


def adamw_path(lab, p, grads, settings):
    """The parameter after every step, and the two running means after the last."""
    path, m, v = [], torch.zeros_like(p), torch.zeros_like(p)
    for step, grad in enumerate(grads, 1):
        p, m, v = lab.adamw_step(p, grad, m, v, step, **settings)
        path.append(p.clone())
    return torch.stack(path), m, v


# ---------------------------------------------------------------- everything together


def regression_three_ways(lab, x, y, lr, steps):
    """w and b stacked, from the gradient by hand, from autograd, and from the module under torch.optim.SGD."""
    w, b = x.new_zeros(x.size(1)), x.new_zeros(())
    for _ in range(steps):
        slope_w, slope_b = lab.mse_gradient(x, y, w, b)
        w, b = w - lr * slope_w, b - lr * slope_b
    by_hand = torch.cat([w, b[None]])
    w, b, _ = lab.fit_by_autograd(x, y, lr, steps)
    by_autograd = torch.cat([w, b[None]])
    model = lab.LinearRegression(x.size(1), x.dtype).to(x.device)
    lab.train(model, [(x, y)], torch.optim.SGD(model.parameters(), lr), steps)
    return by_hand, by_autograd, torch.cat([model.weight.detach()[:, 0], model.bias.detach()])


def train_network(lab, x, y, parameters, orders, rule):
    """The network's loss before each step, trained with the lab's own batches, gradient and update rule."""
    network, losses = lab.MLP(*parameters), []
    state = [[torch.zeros_like(p)] * (2 if rule == "adamw" else 1) for p in network]
    for order in orders:
        for x_batch, y_batch in lab.minibatches(x, y, order, 10):
            loss, gradient = lab.mlp_gradient(x_batch, y_batch, network)
            losses.append(loss.item())
            updated = []
            for i, (p, grad) in enumerate(zip(network, gradient)):
                if rule == "adamw":
                    p, *state[i] = lab.adamw_step(p, grad, *state[i], len(losses), lr=0.02)
                else:
                    p, *state[i] = lab.sgd_step(p, grad, *state[i], lr=0.1, momentum=0.9)
                updated.append(p)
            network = lab.MLP(*updated)
    return losses


def language_model_batch(lab, ids, width, table, heads, mask):
    """The puzzles in a row: windows, embeddings, heads, scores and mixture, a masked mean, standardised."""
    inputs, targets = lab.next_token_windows(ids, width)
    heads_first = lab.split_heads(table[inputs], heads)
    q = heads_first.transpose(1, 2)  # (B, T, H, K)
    scores, mixture = lab.score_and_mix(q, q * 0.5, q + 1)
    pooled = lab.masked_mean(mixture.flatten(2), mask)  # (B, D)
    columns, rows = lab.standardise(pooled)
    return targets, scores, lab.pairwise(columns, rows[1:])
