"""What `python solution.py` (or your finished lab.py) shows: checks, the n-gram floor, training, context, gradients.

`lab` is the namespace of the file that was started, so the numbers are those of the code in it.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit import run

D_MODEL, LEARNING_RATE, MAX_NORM, WARMUP = 64, 2e-3, 1.0, 50
HELD_OUT_ROWS = 16  # the held-out text is read in so many streams at once
SMALL_K = 0.01
CONTEXTS = [1, 2, 3, 4, 5, 6, 8, 11, 16, 23, 32, 45]  # how many characters the RNN may read
LABELS = {"default": "torch's default", "orthogonal_x2": "orthogonal x 2", "trained": "after training"}


def show(args: Any, lab: SimpleNamespace, corpus: Any) -> None:
    train_ids, held_out_ids = corpus.encode(corpus.train_text), corpus.encode(corpus.held_out_text)
    # The first held-out character is predicted from the last one of the training text, by every model.
    held_out = lab.streams(torch.cat([train_ids[-1:], held_out_ids]), HELD_OUT_ROWS)  # (16, L)
    scored = corpus.held_out_text[: HELD_OUT_ROWS * (held_out.size(1) - 1)]
    print(f"{len(train_ids):,} characters to train on, {len(scored):,} held out, {corpus.vocab_size} different ones\n")
    results: dict[str, Any] = {
        "corpus": {"train": len(train_ids), "held_out": len(scored), "vocab": corpus.vocab_size},
        "agreement": agreement(lab),
    }
    texts = train_ids.numpy(), held_out_ids.numpy()[: len(scored)]
    results["floor"], floor_nats = floor(args, lab, *texts, scored, corpus.vocab_size)
    model = lab.CharRNN(corpus.vocab_size, D_MODEL, args.hidden, args.layers).to(args.device)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"RNN with {args.layers} x {args.hidden} hidden units, {parameters:,} parameters")
    rows, held_out = lab.streams(train_ids, args.batch).to(args.device), held_out.to(args.device)
    untrained = lab.token_nats(model, held_out).mean().item()
    history = train(lab, model, rows, held_out, args.epochs, args.steps)
    results["rnn"] = {"parameters": parameters, "untrained_nats": untrained} | verdict(
        lab, results["floor"], history, scored
    )
    results["context"] = context(lab, model, held_out, floor_nats)
    results["gradients"] = gradients(args, lab, corpus.vocab_size, model, held_out)
    samples(args, lab, corpus, model)
    plot_learning(args, results, history)
    plot_memory(args, results)
    run.save_results(args, results)


# ---------------------------------------------------------------- agreement with torch


def agreement(lab: SimpleNamespace, steps: int = 3, width: int = 5, hidden: int = 8) -> dict[str, float]:
    """The backward pass by hand against autograd over a few steps; the whole network against nn.RNN."""
    x, h0 = torch.randn(steps, width, dtype=torch.float64), torch.randn(hidden, dtype=torch.float64)
    cell = lab.VanillaRNNCell(width, hidden).double()
    h0.requires_grad_()
    states = [h0]
    for t in range(steps):
        states.append(cell(x[None, t], states[-1][None])[0])
        states[-1].retain_grad()
    weights = torch.randn(steps, hidden, dtype=torch.float64)  # the loss of step t is weights[t] · h[t+1]
    (torch.stack(states[1:]) * weights).sum().backward()
    w_xh, w_hh, h = cell.w_xh.weight, cell.w_hh.weight, torch.stack(states)
    by_hand = lab.bptt(x, h.detach(), w_xh.detach(), w_hh.detach(), weights)
    by_autograd = (w_xh.grad, w_hh.grad, cell.w_hh.bias.grad, h0.grad)
    backward = max((a - b).abs().max().item() for a, b in zip(by_hand, by_autograd))

    model, ids = lab.CharRNN(20, 12, 32, layers=2), torch.randint(20, (4, 50))
    twin = nn.RNN(12, 32, num_layers=2, batch_first=True)
    with torch.no_grad():
        for n, own in enumerate(model.cells):
            getattr(twin, f"weight_ih_l{n}").copy_(own.w_xh.weight)
            getattr(twin, f"weight_hh_l{n}").copy_(own.w_hh.weight)
            getattr(twin, f"bias_ih_l{n}").zero_()
            getattr(twin, f"bias_hh_l{n}").copy_(own.w_hh.bias)
        expected = model.head(twin(model.embedding(ids))[0])
        forward = (model(ids)[0] - expected).abs().max().item()
    print(f"BPTT by hand against autograd, {steps} steps: worst difference {backward:.1e}")
    print(f"two layers against nn.RNN, 50 steps: worst difference {forward:.1e}\n")
    return {"bptt": backward, "nn_rnn": forward}


# ---------------------------------------------------------------- the floor


def floor(
    args: Any, lab: SimpleNamespace, train: np.ndarray, held_out: np.ndarray, text: str, vocab_size: int
) -> tuple[dict[str, dict], dict[str, np.ndarray]]:
    """Scores of the held-out text under n-gram models of growing order, and Kneser-Ney's nats for each character."""
    found, kneser_ney, rows = {}, {}, []
    for n in run.progress(range(1, args.order + 1), "n-grams"):
        grams = lab.ngrams(np.concatenate([train[len(train) - n + 1 :], held_out]), n)
        probabilities = {
            "add_1": lab.add_k(train, grams, vocab_size),
            "add_small": lab.add_k(train, grams, vocab_size, SMALL_K),
            "kneser_ney": lab.kneser_ney(train, grams, vocab_size),
        }
        nats = {name: -np.log(p) for name, p in probabilities.items()}
        scores = {name: lab.compression(each.sum().item(), len(grams), text) for name, each in nats.items()}
        found[str(n)] = {name: score._asdict() for name, score in scores.items()}
        kneser_ney[str(n)] = nats["kneser_ney"]
        rows.append([n, *(score.perplexity for score in scores.values()), scores["kneser_ney"].bits_per_character])
    print("held-out perplexity per character\n")
    print(run.table(["order", "add-1", f"add-{SMALL_K}", "Kneser-Ney", "its bits/char"], rows) + "\n")
    return found, kneser_ney


def best_order(floor: dict) -> str:
    return min(floor, key=lambda n: floor[n]["kneser_ney"]["perplexity"])


# ---------------------------------------------------------------- training


@dataclass
class History:
    """losses: of every chunk   held_out: mean nats after each epoch   total: the sum of nats after the last epoch"""

    losses: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)
    epoch_losses: list[float] = field(default_factory=list)
    total: float = 0.0


def train(lab: SimpleNamespace, model: nn.Module, rows: Tensor, held_out: Tensor, epochs: int, steps: int) -> History:
    """Adam with a short warm-up and a straight way down to zero. model: (ids, state) -> (logits, state)"""
    per_epoch = math.ceil((rows.size(1) - 1) / steps)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    last = epochs * per_epoch
    warm_up = max(1, min(WARMUP, last // 10))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min((i + 1) / warm_up, 1) * (1 - i / last))
    history = History()
    for epoch in range(epochs):
        passing = lab.truncated_bptt(model, rows, steps, optimizer, MAX_NORM)
        for loss in run.progress(passing, f"epoch {epoch + 1} of {epochs}", total=per_epoch):
            history.losses.append(loss)
            schedule.step()
        nats = lab.token_nats(model, held_out)
        history.total = nats.sum(dtype=torch.float64).item()
        history.held_out.append(history.total / nats.numel())
        history.epoch_losses.append(float(np.mean(history.losses[-per_epoch:])))
        print(f"epoch {epoch + 1:>2}  train {history.epoch_losses[-1]:.3f}  held out {history.held_out[-1]:.3f}  nats")
    return history


def verdict(lab: SimpleNamespace, floor: dict, history: History, text: str) -> dict[str, Any]:
    """The RNN beside the floor."""
    score = lab.compression(history.total, len(text), text)
    best = best_order(floor)
    names = {f"{n}-gram Kneser-Ney": floor[n]["kneser_ney"] for n in dict.fromkeys(["3", "5", best]) if n in floor}
    rows = [[name, *values.values()] for name, values in (names | {"RNN": score._asdict()}).items()]
    print("\n" + run.table(["held out", "perplexity", "bits/char", "bits/byte"], rows) + "\n")
    losses = np.array(history.losses)
    return score._asdict() | {
        "nats": history.total / len(text),
        "train_nats": history.epoch_losses[-1],
        "held_out_by_epoch": history.held_out,
        "train_by_epoch": history.epoch_losses,
        "chunks": len(losses),
        "chunks_that_rose": float((np.diff(losses) > 0).mean()),
        "best_order": int(best),
        "floor_3": floor["3"]["kneser_ney"]["perplexity"],
        "floor_best": floor[best]["kneser_ney"]["perplexity"],
    }


# ---------------------------------------------------------------- memory, forwards and backwards


def context(lab: SimpleNamespace, model: nn.Module, held_out: Tensor, floor_nats: dict[str, np.ndarray]) -> dict:
    """Mean nats of the same held-out characters, the model having read only the last so many before them.

    The RNN starts from an empty state; Kneser-Ney of order n reads n - 1 characters.
    """
    text, longest = as_text(held_out), max(CONTEXTS)
    places = torch.arange(longest, len(text), max(1, len(text) // 9_000), device=text.device)
    rnn = []
    for read in run.progress(CONTEXTS, "context"):
        windows = text[places[:, None] + torch.arange(-read, 1, device=text.device)]  # (W, read + 1)
        nats = torch.cat([lab.token_nats(model, batch)[:, -1] for batch in windows.split(512)])
        rnn.append(nats.mean().item())
    carried = lab.token_nats(model, held_out).flatten()[places - 1].mean().item()
    before = (places - 1).cpu().numpy()  # text[0] is the last training character, which nobody predicts
    kneser_ney = [nats[before].mean().item() for nats in floor_nats.values()]
    return {"characters_read": CONTEXTS, "rnn": rnn, "rnn_carried": carried, "kneser_ney": kneser_ney}


def as_text(rows: Tensor) -> Tensor:
    """Undoes `streams`, whose rows overlap by one id."""
    return torch.cat([rows[:, :-1].flatten(), rows[-1, -1:]])


def gradients(args: Any, lab: SimpleNamespace, vocab_size: int, trained: nn.Module, held_out: Tensor) -> dict[str, Any]:
    """How much of the last character's loss reaches the state k steps earlier, for three starts and after training."""

    def fresh(gain: float | None) -> nn.Module:
        model = lab.CharRNN(vocab_size, D_MODEL, args.hidden, args.layers)
        for cell in model.cells:
            if gain is None:
                cell.w_hh.reset_parameters()
            else:
                nn.init.orthogonal_(cell.w_hh.weight, gain)
        return model.to(args.device)

    models = {"default": fresh(None), "orthogonal": fresh(1.0), "orthogonal_x2": fresh(2.0), "trained": trained}
    windows = as_text(held_out).cpu().unfold(0, 121, 120)[:32]
    found, rows = {}, []
    for name, model in models.items():
        matrix = model.cells[-1].w_hh.weight.detach().cpu()
        norms = gradient_by_distance(copy.deepcopy(model).cpu().double(), windows)
        largest, radius = torch.linalg.matrix_norm(matrix, 2).item(), torch.linalg.eigvals(matrix).abs().max().item()
        per_step = (norms[99] / norms[9]) ** (1 / 90)
        values = {"largest_singular_value": largest, "spectral_radius": radius, "per_step": per_step}
        found[name] = values | {"norms": norms}
        rows.append(
            [LABELS.get(name, name), largest, radius, *(f"{norms[k - 1]:.0e}" for k in (10, 32, 100)), per_step]
        )
    print(run.table(["W_hh", "σ max", "ρ", "k = 10", "k = 32", "k = 100", "per step"], rows))
    print("gradient at a state k steps before the loss, as a share of the gradient one step before it\n")
    return found


def gradient_by_distance(model: nn.Module, ids: Tensor) -> list[float]:
    """|∂loss_T/∂h_(T-k)| over |∂loss_T/∂h_(T-1)| for k = 1, 2, ..., where loss_T is that of the last character alone.

    ids: (B, T + 1)   -> T - 1 ratios, geometric means over the rows; a norm is over all layers.
    The model is a float64 copy: in float32 the squares of the smallest gradients would be zero.
    """
    state, states = None, []
    for t in range(ids.size(1) - 1):
        logits, state = model(ids[:, t : t + 1], state)
        state.retain_grad()
        states.append(state)
    F.cross_entropy(logits[:, -1], ids[:, -1], reduction="sum").backward()
    norms = torch.stack([state.grad.norm(dim=(0, 2)) for state in states[-2::-1]])  # (T - 1, B)
    return (norms / norms[0]).log().mean(1).exp().tolist()


def samples(args: Any, lab: SimpleNamespace, corpus: Any, model: nn.Module, length: int = 240) -> None:
    """The same model drawn from in four ways."""
    ways = [{"temperature": 0.5}, {"temperature": 0.8}, {"temperature": 1.2}, {"temperature": 1.0, "top_p": 0.9}]
    prompt = corpus.encode("\n").to(args.device)[None]
    for how in ways:
        made = lab.generate(model, prompt, length, lambda logits, how=how: lab.sample(logits, **how))
        print(", ".join(f"{name.replace('_', '-')} {value}" for name, value in how.items()))
        print("\n".join("  | " + line for line in corpus.decode(made[0].cpu()).strip("\n").split("\n")) + "\n")


# ---------------------------------------------------------------- figures


def plot_learning(args: Any, results: dict[str, Any], history: History) -> None:
    """Loss over training with the floor drawn in."""
    fig, ax = run.figure(width=7.5, height=4.4)
    losses = np.array(history.losses)
    read = np.arange(1, len(losses) + 1) / len(losses) * len(history.held_out)  # epochs
    window = max(1, len(losses) // 60)
    smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
    ax.plot(read, losses, color="C0", alpha=0.2, linewidth=0.7)
    ax.plot(read[window - 1 :], smooth, color="C0", label=f"training, mean of {window} chunks")
    ax.plot(range(1, len(history.held_out) + 1), history.held_out, "o-", color="C1", label="held out")
    floor = {n: math.log(found["kneser_ney"]["perplexity"]) for n, found in results["floor"].items()}
    for n, style in zip(sorted({"2", "3", "4", min(floor, key=floor.get)} & set(floor)), [":", "-.", "--", "-"]):
        ax.axhline(floor[n], color="0.35", linestyle=style, linewidth=1, label=f"{n}-gram Kneser-Ney, held out")
    lowest = min(smooth.min(), *history.held_out, *floor.values())
    ax.set(xlabel="epochs", ylabel="nats per character", title="The RNN and the floor")
    ax.set_ylim(lowest - 0.1, max(floor["2"], lowest + 1) + 0.8)
    ax.legend()
    run.save_figure(args, fig, "learning.png")


def plot_memory(args: Any, results: dict[str, Any]) -> None:
    """Left: loss against how many characters were read. Right: gradient against distance in time."""
    fig, (left, right) = run.figure(1, 2, width=10, height=4.2)
    found = results["context"]
    kneser_ney = found["kneser_ney"][1:]  # order 1 reads nothing
    left.plot(range(1, len(kneser_ney) + 1), kneser_ney, "s--", color="C3", label="Kneser-Ney of order n reads n - 1")
    left.plot(found["characters_read"], found["rnn"], "o-", color="C0", label="RNN from an empty state")
    left.axhline(found["rnn_carried"], color="C0", linestyle=":", label="RNN that has read everything")
    left.set(xscale="log", xlabel="characters read", ylabel="held-out nats per character", title="Looking forward")
    left.set_xticks([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"])
    left.minorticks_off()
    for name, found in results["gradients"].items():
        style = "--" if name == "trained" else "-"
        right.semilogy(range(1, len(found["norms"]) + 1), found["norms"], style, label=LABELS.get(name, name))
    right.set(xlabel="steps k between state and loss", ylabel="gradient, as a share of k = 1", title="Looking back")
    for ax in (left, right):
        ax.legend()
    run.save_figure(args, fig, "memory.png")
