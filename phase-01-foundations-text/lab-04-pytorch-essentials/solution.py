"""PyTorch essentials: tensors, autograd and optimisers, each built once by hand and compared with the real thing.

Shapes: N, M rows, B batch, T query time, S key time, H heads, K head size, D features, F hidden width, V classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from labkit import run

PRESETS = {
    "smoke": {"samples": 120, "epochs": 3, "repeats": 1},
    "cpu": {"samples": 1_200, "epochs": 60, "repeats": 20},
    "full": {"samples": 6_000, "epochs": 120, "repeats": 100},
}


# ---------------------------------------------------------------- ten tensor puzzles, none of which needs a loop


def pairwise(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Puzzles 1-2. Every row of x against every row of y.

    x: (N, D)   y: (M, D)   -> dots (N, M) = Σ_d x_nd y_md,  squared distances (N, M) = Σ_d (x_nd - y_md)²
    """
    # >>> pairwise (~2 lines): both tables at once
    difference = x[:, None, :] - y[None, :, :]  # (N, M, D)
    return x @ y.T, difference.pow(2).sum(-1)
    # <<< pairwise


def standardise(x: Tensor, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Puzzles 3-4. (x - mean) / √(variance + eps), where the variance divides by the count n, not by n - 1.

    x: (B, D)   -> columns (B, D): each feature by its own statistics over the batch, as in batch norm,
                   rows (B, D): each row by its own statistics over the features, as in layer norm
    """
    # >>> standardise (~4 lines): one formula, two axes
    columns = (x - x.mean(0)) / (x.var(0, correction=0) + eps).sqrt()
    rows = (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + eps).sqrt()
    return columns, rows
    # <<< standardise


def next_token_windows(ids: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Puzzles 5-6. Every window of a token stream, and the window one token later: what a language model trains on.

    ids: (L,) int64   -> inputs, targets, both (L - width, width):
    inputs[i, t] = ids[i + t],   targets[i, t] = ids[i + t + 1].
    Raises ValueError unless 1 <= width < L.
    """
    # >>> next-token-windows (~5 lines): check width, then index once with a table of positions (or slide a view)
    if not 1 <= width < len(ids):
        raise ValueError(f"width: expected 1 to {len(ids) - 1} for {len(ids)} ids, got {width}")
    start = torch.arange(len(ids) - width, device=ids.device)
    position = start[:, None] + torch.arange(width, device=ids.device)  # (L - width, width)
    return ids[position], ids[position + 1]
    # <<< next-token-windows


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Puzzle 7. Cut the features of every position into heads: head h gets features h·K to (h + 1)·K.

    x: (B, T, D)   -> (B, H, T, K) with K = D / H.   Raises ValueError when heads does not divide D.
    """
    # >>> split-heads (~3 lines): check, cut D, then bring the heads in front of the time steps
    if x.size(-1) % heads:
        raise ValueError(f"heads: expected a divisor of the {x.size(-1)} features, got {heads}")
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)
    # <<< split-heads


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Puzzle 8. One vector per sequence: the mean over its real positions, padding left out.

    x: (B, T, D)   mask: (B, T) bool, True = real   -> (B, D); a sequence without any real position gives zeros.
    What stands at a padded position must not matter, not even if it is NaN or infinite. At a real one it must show.
    """
    # >>> masked-mean (~3 lines): sum what is real, divide by how many there are
    total = x.masked_fill(~mask[:, :, None], 0.0).sum(1)  # (B, D)
    count = mask.sum(1, keepdim=True)  # (B, 1)
    return total / count.clamp(min=1)
    # <<< masked-mean


def score_and_mix(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Puzzles 9-10. Two contractions that einsum writes as they are spoken: attention without its softmax.

    q: (B, T, H, K)   k, v: (B, S, H, K)   (time before heads, as a linear layer delivers them)
    -> scores (B, H, T, S) = Σ_k q[b,t,h,k] k[b,s,h,k],   mixture (B, T, H, K) = Σ_s scores[b,h,t,s] v[b,s,h,k]
    """
    # >>> score-and-mix (~2 lines): give every axis a letter; one that is missing behind the arrow is summed over
    scores = torch.einsum("bthk,bshk->bhts", q, k)
    return scores, torch.einsum("bhts,bshk->bthk", scores, v)
    # <<< score-and-mix


# ---------------------------------------------------------------- a scalar autograd


class Value:
    """A number that remembers which operation made it from which parents, so that gradients can flow back.

    data: the number   grad: ∂(output)/∂(this), filled by `backward`   parents: () for a leaf
    op: "add", "mul", "pow", "exp", "tanh", "relu", or "" for a leaf   exponent: the n of "pow", a plain number
    """

    def __init__(self, data: float, op: str = "", parents: tuple[Value, ...] = (), exponent: float = 0.0) -> None:
        self.data, self.op, self.parents, self.exponent, self.grad = float(data), op, parents, exponent, 0.0

    def __add__(self, other: Value | float) -> Value:
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data + other.data, "add", (self, other))

    def __mul__(self, other: Value | float) -> Value:
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, "mul", (self, other))

    def __pow__(self, exponent: float) -> Value:
        return Value(self.data**exponent, "pow", (self,), exponent)

    def exp(self) -> Value:
        return Value(math.exp(self.data), "exp", (self,))

    def tanh(self) -> Value:
        return Value(math.tanh(self.data), "tanh", (self,))

    def relu(self) -> Value:
        return Value(max(self.data, 0.0), "relu", (self,))

    def __sub__(self, other: Value | float) -> Value:
        return self + other * -1.0

    __radd__, __rmul__ = __add__, __mul__

    def backward(self) -> None:
        """Add ∂self/∂leaf to the grad of every leaf self depends on.

        Leaves accumulate from call to call, as in torch: whoever wants a fresh gradient resets them. Every other node
        starts each call at zero, so afterwards its grad is ∂self/∂node of this call alone. If self is itself a
        leaf, its grad grows by 1.
        """
        # >>> backward (~7 lines): do local-slopes and topological-order below first, then pass grad · slope to parents
        order = topological_order(self)
        for node in order:
            if node.parents:
                node.grad = 0.0
        self.grad += 1.0
        for node in reversed(order):
            for parent, slope in zip(node.parents, local_slopes(node)):
                parent.grad += node.grad * slope
        # <<< backward


def local_slopes(node: Value) -> tuple[float, ...]:
    """∂node/∂parent for each of node.parents, in their order, at their present data; () for a leaf.

    relu has slope 0 at 0, and x**0 has slope 0 everywhere (at x = 0 too), as in torch.
    """
    x = [parent.data for parent in node.parents]
    # >>> local-slopes (~13 lines): one rule of differentiation per op; node.data and node.exponent may help
    match node.op:
        case "add":
            return 1.0, 1.0
        case "mul":
            return x[1], x[0]
        case "pow":
            return (node.exponent * x[0] ** (node.exponent - 1) if node.exponent else 0.0,)
        case "exp":
            return (node.data,)
        case "tanh":
            return (1.0 - node.data**2,)
        case "relu":
            return (1.0 if x[0] > 0 else 0.0,)
    return ()
    # <<< local-slopes


def topological_order(root: Value) -> list[Value]:
    """Every node root depends on, each exactly once, parents before children, root last.

    A graph may be tens of thousands of nodes deep: Python's recursion limit must not matter.
    """
    # >>> topological-order (~10 lines): a node may be listed once all of its parents are
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        node, parents_listed = stack.pop()
        if parents_listed:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((parent, False) for parent in node.parents)
    return order
    # <<< topological-order


# ---------------------------------------------------------------- linear regression


def mse_gradient(x: Tensor, y: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient of the mean squared error, loss = (1/B) Σ_i (x_i·w + b - y_i)², by hand: no autograd.

    x: (B, D)   y: (B,)   w: (D,)   b: ()   -> ∂loss/∂w (D,), ∂loss/∂b ()
    """
    # >>> mse-gradient (~2 lines): the residuals, then what they say about w and about b
    residual = x @ w + b - y  # (B,)
    return 2 * x.T @ residual / len(y), 2 * residual.mean()
    # <<< mse-gradient


def fit_by_autograd(x: Tensor, y: Tensor, lr: float, steps: int) -> tuple[Tensor, Tensor, list[float]]:
    """Full-batch descent on the mean squared error; the gradient comes from autograd, the update from you.

    x: (B, D)   y: (B,)   -> w (D,) and b (), detached from the graph, and the loss before each step as a float
    """
    w, b = x.new_zeros(x.size(1)).requires_grad_(), x.new_zeros(()).requires_grad_()
    losses = []
    # >>> fit-by-autograd (~9 lines): loss, backward, update outside the graph, clear the gradients
    for _ in range(steps):
        loss = (x @ w + b - y).pow(2).mean()
        loss.backward()
        losses.append(loss.item())
        with torch.no_grad():
            for parameter in (w, b):
                parameter -= lr * parameter.grad
                parameter.grad = None
    return w.detach(), b.detach(), losses
    # <<< fit-by-autograd


class LinearRegression(nn.Module):
    """x W + b as a module, with the output shape of `nn.Linear(D, 1)`.   x: (B, D)   -> (B, 1)"""

    def __init__(self, features: int, dtype: torch.dtype = torch.float64) -> None:
        """Two parameters, both zero, that `parameters()` finds: `weight` (features, 1) and `bias` (1,)."""
        super().__init__()
        # >>> parameters (~2 lines): self.weight and self.bias, registered, of the given dtype
        self.weight = nn.Parameter(torch.zeros(features, 1, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(1, dtype=dtype))
        # <<< parameters

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


def minibatches(x: Tensor, y: Tensor, order: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """One walk through the rows in the given order: what `DataLoader` does once its sampler has shuffled.

    x: (N, D)   y: (N,)   order: (N,) int64, a permutation   -> pairs (x, y) of batch_size rows; the last may be short
    """
    # >>> minibatches (~3 lines): cut the order into slices
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        yield x[rows], y[rows]
    # <<< minibatches


def train(model: nn.Module, batches: Iterable, optimizer: torch.optim.Optimizer, epochs: int) -> list[float]:
    """The loop of every later lab: for each batch of each epoch, one optimiser step down the mean squared error.

    model: (B, D) -> (B, 1)   batches: pairs x (B, D), y (B,), walked anew in every epoch: their order may change
    -> the batch loss before each step, as Python floats
    """
    losses = []
    # >>> train (~8 lines): predict, loss, clear, backward, step; look at the shapes of prediction and y
    for _ in range(epochs):
        for x, y in batches:
            loss = (model(x).squeeze(-1) - y).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses
    # <<< train


# ---------------------------------------------------------------- a two-layer network, differentiated by hand


class MLP(NamedTuple):
    """w1: (D, F)   b1: (F,)   w2: (F, V)   b2: (V,)"""

    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor


def forward(x: Tensor, y: Tensor, mlp: MLP) -> tuple[Tensor, Tensor, Tensor]:
    """hidden = tanh(x W₁ + b₁), logits = hidden W₂ + b₂, loss = mean over the batch of -log softmax(logits)[y].

    x: (B, D)   y: (B,) int64, the classes   -> loss (), hidden (B, F), logits (B, V)
    """
    hidden = torch.tanh(x @ mlp.w1 + mlp.b1)
    logits = hidden @ mlp.w2 + mlp.b2
    return nn.functional.cross_entropy(logits, y), hidden, logits


def mlp_gradient(x: Tensor, y: Tensor, mlp: MLP) -> tuple[Tensor, MLP]:
    """The loss of `forward` and its gradient by hand: runs where autograd is switched off.

    x: (B, D)   y: (B,) int64   -> loss (), the gradients as an MLP, each with the shape of its parameter
    """
    loss, hidden, logits = forward(x, y, mlp)
    # >>> mlp-gradient (~5 lines): from the logits back: softmax, second layer, tanh, first layer
    one_hot = nn.functional.one_hot(y, logits.size(-1))
    d_logits = (logits.softmax(-1) - one_hot) / len(y)  # (B, V)
    d_hidden = d_logits @ mlp.w2.T  # (B, F)
    d_sum = d_hidden * (1 - hidden**2)  # through tanh
    return loss, MLP(x.T @ d_sum, d_sum.sum(0), hidden.T @ d_logits, d_logits.sum(0))
    # <<< mlp-gradient


# ---------------------------------------------------------------- update rules


def sgd_step(
    p: Tensor, grad: Tensor, velocity: Tensor, *, lr: float, momentum: float = 0.0, weight_decay: float = 0.0
) -> tuple[Tensor, Tensor]:
    """One step of `torch.optim.SGD`:   velocity ← momentum · velocity + grad + weight_decay · p,
                                        p ← p - lr · velocity

    p, grad, velocity: one shape; velocity starts at zero.   -> new p, new velocity; the arguments are left unchanged
    """
    # >>> sgd-step (~2 lines): the two assignments above
    velocity = momentum * velocity + grad + weight_decay * p
    return p - lr * velocity, velocity
    # <<< sgd-step


def adamw_step(
    p: Tensor, grad: Tensor, m: Tensor, v: Tensor, step: int, *,
    lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 1e-2,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """One step of `torch.optim.AdamW`:   p ← p - lr · ( m̂ / (√v̂ + eps) + weight_decay · p )

    m, v: running means of grad (decay betas[0]) and grad² (decay betas[1]), from zero; m̂, v̂: the same, corrected for
    the pull of that zero start; step: 1, 2, ...    Loshchilov & Hutter 2019, algorithm 2
    -> new p, new m, new v; the arguments are left unchanged
    """
    # >>> adamw-step (~6 lines): update both means, correct them, step; the decay touches neither m nor v
    m = betas[0] * m + (1 - betas[0]) * grad
    v = betas[1] * v + (1 - betas[1]) * grad**2
    m_hat = m / (1 - betas[0] ** step)
    v_hat = v / (1 - betas[1] ** step)
    return p - lr * (m_hat / (v_hat.sqrt() + eps) + weight_decay * p), m, v
    # <<< adamw-step


def main(argv: list[str] | None = None) -> None:
    args = run.arguments(__doc__, PRESETS, argv, device=True)
    from labkit.reference.pytorch_essentials import demo  # demo.py beside this file: measures and plots

    demo.show(args, SimpleNamespace(**globals()))


if __name__ == "__main__":
    run.main(main)
