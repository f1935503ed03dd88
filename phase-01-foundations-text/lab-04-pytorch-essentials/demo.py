"""What `python solution.py` (or your finished lab.py) shows: every piece against torch, loss curves, step times.

`lab` is the namespace of the file that was started, so the numbers are those of the code in it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from labkit import run

CLASSES = 3
OPTIMISERS = {"sgd": {"lr": 0.1}, "momentum": {"lr": 0.1, "momentum": 0.9}, "adamw": {"lr": 0.02}}
NAMES = {"sgd": "SGD", "momentum": "SGD, momentum 0.9", "adamw": "AdamW"}


def show(args: Any, lab: SimpleNamespace) -> None:
    for flag in ("samples", "epochs", "repeats"):
        if getattr(args, flag) < 1:
            raise SystemExit(f"--{flag}: expected at least 1, got {getattr(args, flag)}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors below are tiny: a second thread costs more than it brings
    results = {
        "distances": distances(args, lab),
        "autograd": scalar_autograd(args, lab),
        "regression": regression(lab),
        "agreement": agreement(lab),
    }
    line, results["noise"] = regression_curves(args, lab)
    spiral, results["spirals"] = spiral_curves(args, lab)
    plot_curves(args, line, spiral)
    torch.set_num_threads(threads)
    results["step_ms"] = step_times(args)
    run.save_results(args, results)


def distances(args: Any, lab: SimpleNamespace) -> dict[str, float]:
    """Puzzle 2 with two Python loops and without any."""
    x, y = torch.randn(80, 32), torch.randn(100, 32)
    began = time.perf_counter()
    looped = torch.stack([torch.stack([((a - b) ** 2).sum() for b in y]) for a in x])
    loop_ms = 1e3 * (time.perf_counter() - began)
    broadcast_ms = min(run.milliseconds(lambda: lab.pairwise(x, y)) for _ in range(10 * args.repeats))
    assert torch.allclose(looped, lab.pairwise(x, y)[1], rtol=1e-4)
    print(f"80 x 100 distances: loop {loop_ms:.1f} ms, broadcast {broadcast_ms:.2f} ms\n")
    return {"loop_ms": loop_ms, "broadcast_ms": broadcast_ms, "ratio": loop_ms / broadcast_ms}


def scalar_autograd(args: Any, lab: SimpleNamespace, size: int = 60) -> dict[str, float]:
    """The same random expressions on `Value` and on torch scalars: worst difference of value and gradient."""
    worst_value = worst_gradient = 0.0
    graphs = 10 * args.repeats
    for seed in range(graphs):
        rng = random.Random(f"{args.seed} {seed}")
        numbers = [rng.uniform(-2, 2) for _ in range(4)]
        ours = [lab.Value(number) for number in numbers]
        theirs = [torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in numbers]
        state = rng.getstate()
        out = grow(ours, rng, size)
        rng.setstate(state)
        expected = grow(theirs, rng, size)
        out.backward()
        expected.backward()
        worst_value = max(worst_value, abs(out.data - expected.item()) / max(1, abs(expected.item())))
        for leaf, twin in zip(ours, theirs):
            slope = 0.0 if twin.grad is None else twin.grad.item()
            worst_gradient = max(worst_gradient, abs(leaf.grad - slope) / max(1, abs(slope)))
    print(f"{graphs} random expressions of {size} operations, Value against torch, worst difference:")
    print(f"value {worst_value:.1e}, gradient {worst_gradient:.1e}\n")
    return {"graphs": graphs, "operations": size, "value": worst_value, "gradient": worst_gradient}


def grow(leaves: list, rng: random.Random, size: int) -> Any:
    """A random expression over the leaves. Value and Tensor have the same methods, so it serves both."""
    nodes = list(leaves)
    for _ in range(size):
        a, b = rng.choice(nodes[-6:]), rng.choice(nodes)
        step = rng.choice(["+", "-", "*", "square", "exp", "tanh", "relu", "inverse"])
        if step == "+":
            nodes.append(a + b)
        elif step == "-":
            nodes.append(a - b)
        elif step == "*":
            nodes.append(a.tanh() * b)
        elif step == "square":
            nodes.append(a.tanh() ** 2)
        elif step == "exp":
            nodes.append((a.tanh() * 1.5).exp())
        elif step == "inverse":
            nodes.append((a * a + 1.0) ** -1)
        else:
            nodes.append(a.tanh() if step == "tanh" else a.relu())
    return nodes[-1] + nodes[-2] * nodes[-3]


def line_data(rows: int, features: int = 8) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """y = x·w + b + noise, and the least-squares answer in closed form: x (N, D), y (N,), w (D,), b ()."""
    x = torch.randn(rows, features, dtype=torch.float64) * torch.linspace(0.5, 1.5, features, dtype=torch.float64)
    y = x @ torch.randn(features, dtype=torch.float64) + 3 + 0.5 * torch.randn(rows, dtype=torch.float64)
    answer = torch.linalg.lstsq(torch.cat([x, x.new_ones(rows, 1)], 1), y[:, None]).solution[:, 0]
    return x, y, answer[:-1], answer[-1]


def regression(lab: SimpleNamespace, lr: float = 0.2, steps: int = 300) -> dict[str, float]:
    """Full-batch descent three ways; each must arrive where the closed form already stands."""
    x, y, w_best, b_best = line_data(400)
    w, b = torch.zeros_like(w_best), torch.zeros_like(b_best)
    for _ in range(steps):
        slope_w, slope_b = lab.mse_gradient(x, y, w, b)
        w, b = w - lr * slope_w, b - lr * slope_b
    answers = {"gradient by hand": (w, b), "autograd": lab.fit_by_autograd(x, y, lr, steps)[:2]}
    model = lab.LinearRegression(x.size(1))
    lab.train(model, [(x, y)], torch.optim.SGD(model.parameters(), lr), steps)
    answers["nn.Module, torch.optim"] = (model.weight.detach()[:, 0], model.bias.detach()[0])
    errors = {name: max(worst(w, w_best), worst(b, b_best)) for name, (w, b) in answers.items()}
    rows = [(name, f"{error:.1e}") for name, error in errors.items()]
    print(run.table([f"linear regression, {steps} steps", "off the closed form"], rows), end="\n\n")
    return {"steps": steps, **dict(zip(["hand", "autograd", "module"], errors.values()))}


def agreement(lab: SimpleNamespace, steps: int = 100) -> dict[str, float]:
    """The backward pass against autograd; the update rules against `torch.optim`, over many steps."""
    x, y = spirals(90)
    mlp = fresh_mlp(lab, 16)
    twin = [p.clone().requires_grad_() for p in mlp]
    nn.functional.cross_entropy(torch.tanh(x @ twin[0] + twin[1]) @ twin[2] + twin[3], y).backward()
    found = {"mlp_gradient": max(worst(g, p.grad) for g, p in zip(lab.mlp_gradient(x, y, mlp)[1], twin))}
    for name, settings in OPTIMISERS.items():
        kind = torch.optim.AdamW if name == "adamw" else torch.optim.SGD
        theirs = nn.Parameter(mlp.w1.clone())
        optimiser, ours = kind([theirs], **settings, weight_decay=0.1), Updates(lab, name, weight_decay=0.1)
        p = mlp.w1
        for _ in range(steps):
            theirs.grad = torch.randn_like(p)
            (p,) = ours.step([p], [theirs.grad])
            optimiser.step()
        found[name] = worst(p, theirs)
    against = ["network gradient", *(f"{name}, {steps} steps" for name in NAMES.values())]
    rows = [(name, f"{error:.1e}") for name, error in zip(against, found.values())]
    print(run.table(["ours and torch's", "worst difference"], rows), end="\n\n")
    return found


def worst(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


class Updates:
    """The lab's own update rule with the state that `torch.optim` would keep, for a list of parameters."""

    def __init__(self, lab: SimpleNamespace, name: str, **extra: float) -> None:
        self.lab, self.adam, self.settings = lab, name == "adamw", OPTIMISERS[name] | extra
        self.count, self.state = 0, []

    def step(self, parameters: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
        """-> the new parameters"""
        self.count += 1
        if not self.state:
            self.state = [[torch.zeros_like(p)] * (2 if self.adam else 1) for p in parameters]
        updated = []
        for i, (p, grad) in enumerate(zip(parameters, gradients)):
            if self.adam:
                p, *self.state[i] = self.lab.adamw_step(p, grad, *self.state[i], self.count, **self.settings)
            else:
                p, *self.state[i] = self.lab.sgd_step(p, grad, *self.state[i], **self.settings)
            updated.append(p)
        return updated


def regression_curves(args: Any, lab: SimpleNamespace) -> tuple[dict[str, list[float]], dict[str, float]]:
    """How far the loss stays above its minimum, epoch by epoch, for a full batch and for mini-batches of 32."""
    x, y, w, b = line_data(args.samples)
    best = (x @ w + b - y).pow(2).mean().item()
    rows = TensorDataset(x, y)
    kinds = {
        "full batch, SGD": (len(x), torch.optim.SGD, {"lr": 0.2}),
        "batches of 32, SGD": (32, torch.optim.SGD, {"lr": 0.02}),
        "batches of 32, AdamW": (32, torch.optim.AdamW, {"lr": 0.02}),
    }
    curves: dict[str, list[float]] = {name: [] for name in kinds}
    for name, (size, kind, settings) in kinds.items():
        model = lab.LinearRegression(x.size(1))
        optimiser = kind(model.parameters(), **settings)
        batches = DataLoader(rows, batch_size=size, shuffle=True)
        for _ in run.progress(range(args.epochs), name):
            with torch.no_grad():
                curves[name].append((model(x)[:, 0] - y).pow(2).mean().item() - best)
            lab.train(model, batches, optimiser, 1)
    floor = dict(zip(["full", "sgd", "adamw"], (curve[-1] for curve in curves.values())))
    return curves, {"minimum": best, **floor}


def spirals(rows: int) -> tuple[Tensor, Tensor]:
    """Three arms that no straight line separates: x (N, 2), class y (N,)."""
    y = torch.arange(rows) % CLASSES
    radius = torch.rand(rows, dtype=torch.float64)
    angle = 4 * radius + 2 * torch.pi * y / CLASSES + 0.15 * torch.randn(rows, dtype=torch.float64)
    return 2 * radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1), y


def fresh_mlp(lab: SimpleNamespace, hidden: int) -> Any:
    sizes = [(2, hidden), (hidden,), (hidden, CLASSES), (CLASSES,)]
    noise = [torch.randn(size, dtype=torch.float64) for size in sizes]
    return lab.MLP(noise[0], 0 * noise[1], noise[2] / hidden**0.5, 0 * noise[3])


def spiral_curves(args: Any, lab: SimpleNamespace) -> tuple[dict[str, list[float]], dict[str, float]]:
    """A training loop without torch.nn, torch.optim or autograd: own batches, own gradient, own update rule."""
    x, y = spirals(args.samples)
    test_x, test_y = spirals(args.samples)
    start = fresh_mlp(lab, 32)
    curves: dict[str, list[float]] = {name: [] for name in OPTIMISERS}
    accuracy = {}
    for name in OPTIMISERS:
        mlp, updates = start, Updates(lab, name)
        for _ in run.progress(range(args.epochs), NAMES[name]):
            curves[name].append(lab.forward(x, y, mlp)[0].item())
            for batch in lab.minibatches(x, y, torch.randperm(len(x)), 32):
                _, gradient = lab.mlp_gradient(*batch, mlp)
                mlp = lab.MLP(*updates.step(mlp, gradient))
        curves[name].append(lab.forward(x, y, mlp)[0].item())
        accuracy[name] = (lab.forward(test_x, test_y, mlp)[2].argmax(-1) == test_y).double().mean().item()
    found = {name: {"loss": curves[name][-1], "accuracy": accuracy[name]} for name in OPTIMISERS}
    rows = [(NAMES[name], row["loss"], f"{row['accuracy']:.1%}") for name, row in found.items()]
    print(run.table([f"spirals, {args.epochs} epochs", "loss", "held out"], rows), end="\n\n")
    return curves, found


def plot_curves(args: Any, line: dict[str, list[float]], spiral: dict[str, list[float]]) -> None:
    fig, (left, right) = run.figure(1, 2, width=10, height=4.2)
    for name, curve in line.items():
        left.semilogy([max(loss, 1e-16) for loss in curve], label=name)
    left.set(xlabel="epoch", ylabel="loss above the minimum", title="Linear regression")
    for name, curve in spiral.items():
        right.semilogy(curve, label=NAMES[name])
    right.set(xlabel="epoch", ylabel="cross-entropy", title="Three spirals, gradient by hand")
    for ax in (left, right):
        ax.legend()
    run.save_figure(args, fig, "loss_curves.png")


def step_times(args: Any, batch_sizes: tuple[int, ...] = (1, 4, 16, 64, 256, 1024, 4096)) -> dict[str, Any]:
    """One training step (forward, backward, AdamW) of a 256-1024-10 network, per device and batch size."""
    devices = ["cpu"] if args.device == "cpu" else ["cpu", args.device]
    times: dict[str, dict[str, float]] = {}
    for device in devices:
        times[device] = {}
        for size in run.progress(batch_sizes, f"step times, {device}"):
            step = training_step(device, size)
            times[device][str(size)] = min(run.milliseconds(step) for _ in range(args.repeats + 2))  # 2 to warm up
    headers = ["batch", *(f"{device} ms/step" for device in devices), f"{devices[-1]} µs/row"]
    rows = [[size, *(times[device][str(size)] for device in devices)] for size in batch_sizes]
    print(run.table(headers, [[*row, 1e3 * row[-1] / row[0]] for row in rows]))
    plot_times(args, batch_sizes, times)
    return times


def training_step(device: str, size: int) -> Callable[[], None]:
    """A function that trains for one step on random rows and returns when the device is done."""
    model = nn.Sequential(nn.Linear(256, 1024), nn.ReLU(), nn.Linear(1024, 10)).to(device)
    optimiser = torch.optim.AdamW(model.parameters())
    x, y = torch.randn(size, 256, device=device), torch.randint(10, (size,), device=device)

    def step() -> None:
        loss = nn.functional.cross_entropy(model(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if device != "cpu":  # a GPU only queues the work: without this the clock stops before the step is done
            getattr(torch, device).synchronize()

    return step


def plot_times(args: Any, batch_sizes: tuple[int, ...], times: dict[str, dict[str, float]]) -> None:
    fig, ax = run.figure(width=7, height=3.8)
    for device, by_size in times.items():
        ax.loglog(batch_sizes, [1e3 * ms / int(size) for size, ms in by_size.items()], "o-", label=device)
    ax.set_xticks(batch_sizes, [f"{size:,}" for size in batch_sizes])
    ax.yaxis.set_major_formatter("{x:,g}")
    ax.minorticks_off()
    ax.set(xlabel="rows in the batch", ylabel="µs per row", title="A training step, shared among its rows")
    ax.legend()
    run.save_figure(args, fig, "step_time.png")
