# labkit: lab 1.4, skeleton 3fe66422e265. Fill the TODOs; then: labkit check 1.4
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
    # TODO pairwise (~2 lines): both tables at once
    raise NotImplementedError("TODO pairwise")
    # END TODO pairwise


def standardise(x: Tensor, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Puzzles 3-4. (x - mean) / √(variance + eps), where the variance divides by the count n, not by n - 1.

    x: (B, D)   -> columns (B, D): each feature by its own statistics over the batch, as in batch norm,
                   rows (B, D): each row by its own statistics over the features, as in layer norm
    """
    # TODO standardise (~4 lines): one formula, two axes
    raise NotImplementedError("TODO standardise")
    # END TODO standardise


def next_token_windows(ids: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Puzzles 5-6. Every window of a token stream, and the window one token later: what a language model trains on.

    ids: (L,) int64   -> inputs, targets, both (L - width, width):
    inputs[i, t] = ids[i + t],   targets[i, t] = ids[i + t + 1].
    Raises ValueError unless 1 <= width < L.
    """
    # TODO next-token-windows (~5 lines): check width, then index once with a table of positions (or slide a view)
    raise NotImplementedError("TODO next-token-windows")
    # END TODO next-token-windows


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Puzzle 7. Cut the features of every position into heads: head h gets features h·K to (h + 1)·K.

    x: (B, T, D)   -> (B, H, T, K) with K = D / H.   Raises ValueError when heads does not divide D.
    """
    # TODO split-heads (~3 lines): check, cut D, then bring the heads in front of the time steps
    raise NotImplementedError("TODO split-heads")
    # END TODO split-heads


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Puzzle 8. One vector per sequence: the mean over its real positions, padding left out.

    x: (B, T, D)   mask: (B, T) bool, True = real   -> (B, D); a sequence without any real position gives zeros.
    What stands at a padded position must not matter, not even if it is NaN or infinite. At a real one it must show.
    """
    # TODO masked-mean (~3 lines): sum what is real, divide by how many there are
    raise NotImplementedError("TODO masked-mean")
    # END TODO masked-mean


def score_and_mix(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Puzzles 9-10. Two contractions that einsum writes as they are spoken: attention without its softmax.

    q: (B, T, H, K)   k, v: (B, S, H, K)   (time before heads, as a linear layer delivers them)
    -> scores (B, H, T, S) = Σ_k q[b,t,h,k] k[b,s,h,k],   mixture (B, T, H, K) = Σ_s scores[b,h,t,s] v[b,s,h,k]
    """
    # TODO score-and-mix (~2 lines): give every axis a letter; one that is missing behind the arrow is summed over
    raise NotImplementedError("TODO score-and-mix")
    # END TODO score-and-mix


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
        # TODO backward (~7 lines): do local-slopes and topological-order below first, then pass grad · slope to parents
        raise NotImplementedError("TODO backward")
        # END TODO backward


def local_slopes(node: Value) -> tuple[float, ...]:
    """∂node/∂parent for each of node.parents, in their order, at their present data; () for a leaf.

    relu has slope 0 at 0, and x**0 has slope 0 everywhere (at x = 0 too), as in torch.
    """
    x = [parent.data for parent in node.parents]
    # TODO local-slopes (~13 lines): one rule of differentiation per op; node.data and node.exponent may help
    raise NotImplementedError("TODO local-slopes")
    # END TODO local-slopes


def topological_order(root: Value) -> list[Value]:
    """Every node root depends on, each exactly once, parents before children, root last.

    A graph may be tens of thousands of nodes deep: Python's recursion limit must not matter.
    """
    # TODO topological-order (~10 lines): a node may be listed once all of its parents are
    raise NotImplementedError("TODO topological-order")
    # END TODO topological-order


# ---------------------------------------------------------------- linear regression


def mse_gradient(x: Tensor, y: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient of the mean squared error, loss = (1/B) Σ_i (x_i·w + b - y_i)², by hand: no autograd.

    x: (B, D)   y: (B,)   w: (D,)   b: ()   -> ∂loss/∂w (D,), ∂loss/∂b ()
    """
    # TODO mse-gradient (~2 lines): the residuals, then what they say about w and about b
    raise NotImplementedError("TODO mse-gradient")
    # END TODO mse-gradient


def fit_by_autograd(x: Tensor, y: Tensor, lr: float, steps: int) -> tuple[Tensor, Tensor, list[float]]:
    """Full-batch descent on the mean squared error; the gradient comes from autograd, the update from you.

    x: (B, D)   y: (B,)   -> w (D,) and b (), detached from the graph, and the loss before each step as a float
    """
    w, b = x.new_zeros(x.size(1)).requires_grad_(), x.new_zeros(()).requires_grad_()
    losses = []
    # TODO fit-by-autograd (~9 lines): loss, backward, update outside the graph, clear the gradients
    raise NotImplementedError("TODO fit-by-autograd")
    # END TODO fit-by-autograd


class LinearRegression(nn.Module):
    """x W + b as a module, with the output shape of `nn.Linear(D, 1)`.   x: (B, D)   -> (B, 1)"""

    def __init__(self, features: int, dtype: torch.dtype = torch.float64) -> None:
        """Two parameters, both zero, that `parameters()` finds: `weight` (features, 1) and `bias` (1,)."""
        super().__init__()
        # TODO parameters (~2 lines): self.weight and self.bias, registered, of the given dtype
        raise NotImplementedError("TODO parameters")
        # END TODO parameters

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


def minibatches(x: Tensor, y: Tensor, order: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """One walk through the rows in the given order: what `DataLoader` does once its sampler has shuffled.

    x: (N, D)   y: (N,)   order: (N,) int64, a permutation   -> pairs (x, y) of batch_size rows; the last may be short
    """
    # TODO minibatches (~3 lines): cut the order into slices
    raise NotImplementedError("TODO minibatches")
    # END TODO minibatches


def train(model: nn.Module, batches: Iterable, optimizer: torch.optim.Optimizer, epochs: int) -> list[float]:
    """The loop of every later lab: for each batch of each epoch, one optimiser step down the mean squared error.

    model: (B, D) -> (B, 1)   batches: pairs x (B, D), y (B,), walked anew in every epoch: their order may change
    -> the batch loss before each step, as Python floats
    """
    losses = []
    # TODO train (~8 lines): predict, loss, clear, backward, step; look at the shapes of prediction and y
    raise NotImplementedError("TODO train")
    # END TODO train


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
    # TODO mlp-gradient (~5 lines): from the logits back: softmax, second layer, tanh, first layer
    raise NotImplementedError("TODO mlp-gradient")
    # END TODO mlp-gradient


# ---------------------------------------------------------------- update rules


def sgd_step(
    p: Tensor, grad: Tensor, velocity: Tensor, *, lr: float, momentum: float = 0.0, weight_decay: float = 0.0
) -> tuple[Tensor, Tensor]:
    """One step of `torch.optim.SGD`:   velocity ← momentum · velocity + grad + weight_decay · p,
                                        p ← p - lr · velocity

    p, grad, velocity: one shape; velocity starts at zero.   -> new p, new velocity; the arguments are left unchanged
    """
    # TODO sgd-step (~2 lines): the two assignments above
    raise NotImplementedError("TODO sgd-step")
    # END TODO sgd-step


def adamw_step(
    p: Tensor, grad: Tensor, m: Tensor, v: Tensor, step: int, *,
    lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 1e-2,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """One step of `torch.optim.AdamW`:   p ← p - lr · ( m̂ / (√v̂ + eps) + weight_decay · p )

    m, v: running means of grad (decay betas[0]) and grad² (decay betas[1]), from zero; m̂, v̂: the same, corrected for
    the pull of that zero start; step: 1, 2, ...    Loshchilov & Hutter 2019, algorithm 2
    -> new p, new m, new v; the arguments are left unchanged
    """
    # TODO adamw-step (~6 lines): update both means, correct them, step; the decay touches neither m nor v
    raise NotImplementedError("TODO adamw-step")
    # END TODO adamw-step


def main(argv: list[str] | None = None) -> None:
    args = run.arguments(__doc__, PRESETS, argv, device=True)
    from labkit.reference.pytorch_essentials import demo  # demo.py beside this file: measures and plots

    demo.show(args, SimpleNamespace(**globals()))


if __name__ == "__main__":
    run.main(main)
