"""What `python solution.py` (or your finished lab.py) shows: agreement with torch, masks, variance, attention maps.

`lab` is the namespace of the file that was started, so the numbers are those of the code in it.
"""

from __future__ import annotations

import math
import string
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from labkit import run

HEAD_SIZES = [1, 4, 16, 64, 256, 1024]
KEYS = 64  # keys per query in the variance study
LETTERS, DIGITS = 26, 10
SLOTS, QUESTIONS = 12, 6  # items per sequence, of which some are padding; questions per sequence
WIDTH, BATCH = 64, 64


def show(args: Any, lab: SimpleNamespace) -> None:
    if args.device == "cpu":
        torch.set_num_threads(1)  # the tensors below are small: a second thread costs more than it brings
    draw_masks(args, lab)
    results = {"agreement": agreement(args, lab), "variance": variance(args, lab), "find": find_the_token(args, lab)}
    run.save_results(args, results)


# ---------------------------------------------------------------- all forms against torch


def agreement(args: Any, lab: SimpleNamespace) -> dict[str, dict[str, float]]:
    """Worst difference of each form from torch's own, outputs and gradients, over random shapes with combined masks."""
    forms = {
        "loop": lab.attend_loop,
        "bmm": lab.attend_bmm,
        "einsum": lambda *inputs: lab.attend_einsum(*inputs)[0],
        "tiled": lambda *inputs: lab.attend_tiled(*inputs, tile=4),
    }
    results, rows = {}, []
    for name in run.progress(forms, "agreement"):
        results[name] = {}
        for dtype in (torch.float64, torch.float32):
            generator = torch.Generator().manual_seed(args.seed)
            pairs = [compare(lab, forms[name], args.device, dtype, generator) for _ in range(args.repeats)]
            short = str(dtype).removeprefix("torch.")
            results[name] |= {short: max(out for out, _ in pairs), f"{short}_grad": max(grad for _, grad in pairs)}
        rows.append([name, *(f"{difference:.1e}" for difference in results[name].values())])
    print("Worst difference from F.scaled_dot_product_attention, masks combined:\n")
    print(run.table(["form", "float64", "gradient", "float32", "gradient"], rows) + "\n")
    return results


def compare(lab: SimpleNamespace, form: Any, device: str, dtype: torch.dtype, generator: Any) -> tuple[float, float]:
    """The worst difference from torch of the output and of the three gradients, for one random problem."""
    sizes = ((2, 3, 9, 8), (2, 3, 13, 8), (2, 3, 13, 5), (2, 3, 9, 5))
    q, k, v, d_out = (torch.randn(size, generator=generator, dtype=dtype).to(device) for size in sizes)
    lengths = torch.tensor([13, 5], device=device)
    # Padded on the left and causal: the first queries of the second sequence see no key at all.
    mask = lab.combine_masks(lab.causal_mask(9, 13, device=device), lab.padding_mask(lengths, 13, left=True))
    found = []
    for attend in (form, scaled_dot_product_attention):
        leaves = [x.clone().requires_grad_() for x in (q, k, v)]
        out = attend(*leaves, mask)
        out.backward(d_out)
        found.append([out.detach(), *(leaf.grad for leaf in leaves)])
    differences = [(ours - theirs).abs().max().item() for ours, theirs in zip(*found)]
    return differences[0], max(differences[1:])


def draw_masks(args: Any, lab: SimpleNamespace, size: int = 8, length: int = 5) -> None:
    """The three masks and their combinations for one sequence, with the rows that see nothing marked."""
    from matplotlib.colors import ListedColormap

    lengths, edges = torch.tensor([length]), [edge - 0.5 for edge in range(size + 1)]
    causal = lab.causal_mask(size, size)
    right, left = (lab.padding_mask(lengths, size, left=side)[0, 0] for side in (False, True))
    panels = {
        "causal": causal,
        f"padding, length {length}": right,
        "causal and padding": lab.combine_masks(causal, right),
        "causal, padded left": lab.combine_masks(causal, left),
    }
    fig, axes = run.figure(1, len(panels), width=10, height=3.1)
    for ax, (title, mask) in zip(axes, panels.items()):
        mask = mask.expand(size, size)
        shade = mask.double() - (~mask.any(-1, keepdim=True)).double()  # 1 may look, 0 may not, -1 sees nothing
        ax.imshow(shade, cmap=ListedColormap(["#D55E00", "#eef1f4", "#0072B2"]), vmin=-1, vmax=1)
        ax.set_xticks(edges, minor=True)
        ax.set_yticks(edges, minor=True)
        ax.grid(False)
        ax.grid(which="minor", color="white", linewidth=1.5)
        ax.tick_params(which="minor", length=0)
        ax.set(title=title, xlabel="key", xticks=range(0, size, 2), yticks=range(0, size, 2))
        ax.title.set_fontsize(11)
    axes[0].set_ylabel("query")
    run.save_figure(args, fig, "masks.png")
    print()


# ---------------------------------------------------------------- why divide by the root of K


def variance(args: Any, lab: SimpleNamespace) -> dict[str, list[float]]:
    """Spread of q·k, and what the softmax makes of it, for entries of q and k drawn from N(0, 1)."""
    found: dict[str, list[float]] = {
        f"{kind}_{what}": [] for what in ("std", "largest", "slope") for kind in ("raw", "scaled")
    }
    generator = torch.Generator().manual_seed(args.seed)
    for head_size in run.progress(HEAD_SIZES, "variance"):
        q = torch.randn(args.draws, 1, head_size, generator=generator).to(args.device)
        # One set of keys per 100 queries is random enough, and spares memory.
        k = torch.randn(max(1, args.draws // 100), KEYS, head_size, generator=generator).to(args.device)
        raw = (q @ k.repeat_interleave(100, 0)[: args.draws].mT)[:, 0]  # (draws, KEYS)
        for name, scores in {"raw": raw, "scaled": raw / math.sqrt(head_size)}.items():
            weights = lab.masked_softmax(scores)
            found[f"{name}_std"].append(scores.std().item())
            found[f"{name}_largest"].append(weights.amax(-1).mean().item())
            found[f"{name}_slope"].append(jacobian_norm(weights).median().item())
    print(f"q·k of {args.draws:,} random queries with {KEYS} keys each; the softmax over the keys:\n")
    rows = [(size, *(f"{column[i]:.3f}" for column in found.values())) for i, size in enumerate(HEAD_SIZES)]
    print(run.table(["K", "std", "std/√K", "max w", "max w/√K", "slope", "slope/√K"], rows) + "\n")
    plot_variance(args, found)
    return {"head_sizes": HEAD_SIZES, "keys": KEYS, "draws": args.draws} | found


def jacobian_norm(weights: Tensor) -> Tensor:
    """Frobenius norm of ∂softmax/∂scores = diag(w) - w wᵀ, from its entries' squares:  Σ w² - 2 Σ w³ + (Σ w²)²."""
    squares = weights.square().sum(-1)
    return (squares - 2 * weights.pow(3).sum(-1) + squares.square()).clamp(min=0).sqrt()


def plot_variance(args: Any, found: dict[str, list[float]]) -> None:
    fig, (left, middle, right) = run.figure(1, 3, width=11, height=3.7)
    labels = {"raw": "q·k", "scaled": "q·k / √K"}
    for name, marker in (("raw", "o"), ("scaled", "s")):
        left.loglog(HEAD_SIZES, found[f"{name}_std"], marker=marker, label=labels[name], base=2)
        middle.semilogx(HEAD_SIZES, found[f"{name}_largest"], marker=marker, label=labels[name], base=2)
        right.semilogx(HEAD_SIZES, found[f"{name}_slope"], marker=marker, label=labels[name], base=2)
    left.loglog(HEAD_SIZES, [math.sqrt(size) for size in HEAD_SIZES], "k:", linewidth=1.2, label="√K", base=2)
    middle.axhline(1 / KEYS, color="k", linestyle=":", linewidth=1.2, label=f"1/{KEYS}, all alike")
    left.set(title="Spread of the scores", ylabel="standard deviation")
    middle.set(title="Largest weight", ylabel=f"mean over queries, {KEYS} keys", ylim=(0, 1))
    right.set(title="Slope of the softmax", ylabel="norm of its Jacobian, median", ylim=(0, None))
    for ax in (left, middle, right):
        ax.set_xticks(HEAD_SIZES, [str(size) for size in HEAD_SIZES])
        ax.minorticks_off()
        ax.set_xlabel("head size K")
    left.set_yticks([1, 4, 16, 32], ["1", "4", "16", "32"])
    left.legend()
    run.save_figure(args, fig, "variance.png")
    print()


# ---------------------------------------------------------------- find the token


class Finder(nn.Module):
    """One attention layer that answers "which digit stands beside this letter?" about a sequence of such pairs.

    A question becomes a query, a pair becomes a key and a value. The values it collects are read out as a digit. It
    knows nothing of positions: it can only compare contents.
    """

    def __init__(self, lab: SimpleNamespace, scaled: bool = True) -> None:
        super().__init__()
        self.lab, self.scaled = lab, scaled
        self.letter, self.digit = nn.Embedding(LETTERS, WIDTH), nn.Embedding(DIGITS, WIDTH)
        self.question = nn.Embedding(LETTERS, WIDTH)
        self.to_q, self.to_k, self.to_v = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.to_digit = nn.Linear(WIDTH, DIGITS)
        for linear in (self.to_q, self.to_k, self.to_v):
            nn.init.normal_(linear.weight, std=WIDTH**-0.5)  # keeps the variance of the embeddings

    def qkv(self, letters: Tensor, digits: Tensor, asked: Tensor) -> list[Tensor]:
        """letters, digits: (B, S)   asked: (B, T) letters   -> q (B, 1, T, K), k (B, 1, S, K), v (B, 1, S, K)"""
        items = self.letter(letters) + self.digit(digits)
        q = self.to_q(self.question(asked))
        if not self.scaled:
            q = q * math.sqrt(WIDTH)  # undoes the division inside the attention
        return [x.unsqueeze(1) for x in (q, self.to_k(items), self.to_v(items))]

    def forward(self, letters: Tensor, digits: Tensor, asked: Tensor, mask: Tensor) -> Tensor:
        out = self.lab.attend_tiled(*self.qkv(letters, digits, asked), mask, tile=5)
        return self.to_digit(out[:, 0])  # (B, T, DIGITS)

    def weights(self, letters: Tensor, digits: Tensor, asked: Tensor, mask: Tensor) -> Tensor:
        """Where it looks: (B, T, S). The tiled form never has them, so this asks the einsum form."""
        with torch.no_grad():
            return self.lab.attend_einsum(*self.qkv(letters, digits, asked), mask)[1][:, 0]


def sequences(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pairs of a letter (each at most once) and a digit, padded to SLOTS, and where the letters asked for stand.

    -> letters (B, S), digits (B, S), lengths (B,), places (B, QUESTIONS), each place < length
    """
    letters = torch.rand(count, LETTERS, generator=generator).argsort(1)[:, :SLOTS]
    digits = torch.randint(DIGITS, (count, SLOTS), generator=generator)
    lengths = torch.randint(QUESTIONS, SLOTS + 1, (count,), generator=generator)
    chance = torch.rand(count, SLOTS, generator=generator) + (torch.arange(SLOTS) >= lengths[:, None])
    return letters, digits, lengths, chance.argsort(1)[:, :QUESTIONS]


def train_finder(args: Any, lab: SimpleNamespace, seed: int, scaled: bool) -> tuple[Finder, list[float]]:
    """-> the trained layer and its accuracy on each batch, which it has never seen before"""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    finder = Finder(lab, scaled).to(args.device)
    optimizer = torch.optim.Adam(finder.parameters(), lr=1e-3)
    accuracy = []
    for _ in run.progress(range(args.steps), f"training, seed {seed}, {'scaled' if scaled else 'unscaled'}"):
        letters, digits, lengths, places = (x.to(args.device) for x in sequences(BATCH, generator))
        logits = finder(letters, digits, letters.gather(1, places), lab.padding_mask(lengths, SLOTS))
        answers = digits.gather(1, places)
        loss = cross_entropy(logits.flatten(0, 1), answers.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        accuracy.append((logits.argmax(-1) == answers).double().mean().item())
    return finder, accuracy


def find_the_token(args: Any, lab: SimpleNamespace) -> dict[str, Any]:
    """Trains the layer with and without the division by √K, and looks at where the scaled one looks."""
    curves = {
        name: [train_finder(args, lab, args.seed + i, scaled) for i in range(args.repeats)]
        for name, scaled in (("scaled", True), ("unscaled", False))
    }
    trained = curves["scaled"][0][0]
    torch.manual_seed(args.seed)
    untrained = Finder(lab).to(args.device)
    data = sequences(500, torch.Generator().manual_seed(args.seed + 10_000))
    letters, digits, lengths, places = (x.to(args.device) for x in data)
    asked, mask = letters.gather(1, places), lab.padding_mask(lengths, SLOTS)
    maps = {
        name: layer.weights(letters, digits, asked, mask) for name, layer in (("before", untrained), ("after", trained))
    }
    found: dict[str, Any] = {"steps": args.steps, "seeds": args.repeats}
    for name, weights in maps.items():
        found[f"weight_on_target_{name}"] = weights.gather(2, places[:, :, None]).mean().item()
    found["weight_on_padding"] = (maps["after"] * ~mask[:, 0]).sum(-1).max().item()
    right = trained(letters, digits, asked, mask).argmax(-1) == digits.gather(1, places)
    found["accuracy_percent"] = 100 * right.double().mean().item()
    for name, runs in curves.items():
        found[f"{name}_steps_to_90"] = [steps_to(accuracy, 0.9) for _, accuracy in runs]
    report_finder(found)
    example = int((lengths == SLOTS - 3).nonzero()[0, 0])
    accuracies = {name: torch.tensor([accuracy for _, accuracy in runs]) for name, runs in curves.items()}
    plot_finder(args, {name: weights[example].cpu() for name, weights in maps.items()},
                [x[example] for x in data], accuracies)  # fmt: skip
    return found


def steps_to(accuracy: list[float], goal: float, window: int = 10) -> int | None:
    """The first step after which the mean accuracy of `window` batches reaches the goal; None if it never does."""
    means = torch.tensor(accuracy).unfold(0, window, 1).mean(1)
    reached = (means >= goal).nonzero()
    return int(reached[0, 0]) + window if len(reached) else None


def report_finder(found: dict[str, Any]) -> None:
    print(f"Find the token: {QUESTIONS} questions about up to {SLOTS} pairs; {found['steps']} training steps\n")
    print(f"digits found in new sequences     {found['accuracy_percent']:.1f} %")
    print(f"weight on the right pair, before  {found['weight_on_target_before']:.3f}")
    print(f"weight on the right pair, after   {found['weight_on_target_after']:.3f}")
    print(f"most weight on padding            {found['weight_on_padding']:.3f}")
    for name, label in (("scaled", "with / √K"), ("unscaled", "without")):
        steps = [str(step) if step is not None else "never" for step in found[f"{name}_steps_to_90"]]
        print(f"steps to 90 %, {label:<9}          {' '.join(steps)}")
    print()


def plot_finder(args: Any, maps: dict[str, Tensor], example: list[Tensor], accuracies: dict[str, Tensor]) -> None:
    letters, digits, length, places = example
    names = [string.ascii_uppercase[letter] for letter in letters.tolist()]
    pairs = [f"{name}\n{digit}" for name, digit in zip(names, digits.tolist())]
    items = [*pairs[: int(length)], *["·"] * (SLOTS - int(length))]
    fig, axes = run.figure(1, 3, width=11, height=3.6)
    for ax, (name, weights) in zip(axes, maps.items()):
        ax.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        ax.scatter(places, range(QUESTIONS), s=170, facecolors="none", edgecolors="#D55E00", linewidths=1.8)
        ax.set_xticks(range(SLOTS), items)
        ax.set_yticks(range(QUESTIONS), [f"{names[place]}?" for place in places])
        ax.grid(False)
        ax.set(title=f"Weights {name} training", xlabel="pairs; · is padding")
    for runs, label in zip(accuracies.values(), ("with / √K", "without")):
        smooth = 100 * runs.unfold(1, 10, 1).mean(2)  # (seeds, steps): the mean of ten batches
        steps = range(10, 10 + smooth.size(1))
        axes[2].plot(steps, smooth.mean(0), label=label)
        axes[2].fill_between(steps, smooth.amin(0), smooth.amax(0), alpha=0.2)
    axes[2].set(title="Digits found", xlabel="training step", ylabel="% of a new batch", ylim=(0, 102))
    axes[2].legend(loc="lower right")
    run.save_figure(args, fig, "find_the_token.png")
