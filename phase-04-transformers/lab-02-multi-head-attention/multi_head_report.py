"""What `python solution.py` (or your finished lab.py) shows: agreement with torch, cache sizes, two studies.

`lab` is the namespace of the file that was started, so the numbers are those of the code in it.
"""

from __future__ import annotations

import copy
import string
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit import run
from labkit.reference.multi_head_attention import lookup_task as task

HEADS = [1, 2, 4]  # of the first study
SHARED = {"MHA": 8, "GQA-4": 4, "GQA-2": 2, "MQA": 1}  # key-value heads of the second, for 8 query heads
MODELS = {  # layers, query heads, key-value heads, head size; tokens, sequences, bytes per number
    "Llama-2-7B": ((32, 32, 32, 128), (2_048, 1, 2)),
    "Llama-3-8B if MHA": ((32, 32, 32, 128), (8_192, 1, 2)),
    "Llama-3-8B": ((32, 32, 8, 128), (8_192, 1, 2)),
    "Llama-3-8B if MQA": ((32, 32, 1, 128), (8_192, 1, 2)),
    "Llama-3-8B, batch 32": ((32, 32, 8, 128), (8_192, 32, 2)),
    "Llama-3-70B": ((80, 64, 8, 128), (131_072, 1, 2)),
    "Llama-3-70B, FP8": ((80, 64, 8, 128), (131_072, 1, 1)),
}


def show(args: Any, lab: SimpleNamespace) -> None:
    if args.device == "cpu":
        torch.set_num_threads(1)  # the tensors below are small: a second thread costs more than it brings
    results = {"agreement": agreement(args, lab), "cache": cache_sizes(lab)}
    results |= {"jobs": two_jobs(args, lab), "sharing": sharing(args, lab)}
    run.save_results(args, results)


# ---------------------------------------------------------------- agreement with torch


def agreement(args: Any, lab: SimpleNamespace) -> dict[str, dict[str, float]]:
    """Worst difference of outputs and of input gradients from torch's, with copied weights, over random problems."""
    results, rows = {}, []
    for name, pair in comparisons(lab).items():
        results[name] = {}
        for dtype in (torch.float64, torch.float32):
            torch.manual_seed(args.seed)
            found = [differences(*pair, args.device, dtype) for _ in range(args.repeats)]
            short = str(dtype).removeprefix("torch.")
            results[name] |= {short: max(out for out, _ in found), f"{short}_grad": max(grad for _, grad in found)}
        rows.append([name, *(f"{value:.1e}" for value in results[name].values())])
    print("Worst difference from torch with the same weights:\n")
    print(run.table(["", "float64", "gradient", "float32", "gradient"], rows) + "\n")
    return results


def comparisons(lab: SimpleNamespace) -> dict[str, tuple]:
    """Name: (ours, theirs), both functions of (torch's layer, x, context, real) that return an output."""

    def causal(layer, x, context, real):
        future = torch.ones(x.size(1), x.size(1), dtype=torch.bool, device=x.device).triu(1)
        return layer(x, x, x, attn_mask=future, need_weights=False)[0]

    def cross(layer, x, context, real):
        return layer(x, context, context, key_padding_mask=~real, need_weights=False)[0]

    def loop(layer, x, context, real):
        layer.in_proj_bias.data.zero_()  # the definition has no biases
        layer.out_proj.bias.data.zero_()
        return lab.heads_one_by_one(x, context, *lab.from_torch(layer).per_head(), real[:, None, None, :])

    def shared(attend):
        def run_attention(layer, x, context, real):
            k, v = (lab.split_heads(half, 3) for half in context.chunk(2, dim=-1))
            return attend(lab.split_heads(x, 6), k, v, real[:, None, None, :])

        return run_attention

    def torch_gqa(q, k, v, mask):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)

    return {
        "self-attention, causal": (lambda m, x, c, real: lab.from_torch(m)(x, causal=True), causal),
        "cross-attention, padding": (lambda m, x, c, real: lab.from_torch(m)(x, c, real), cross),
        "head by head": (loop, cross),
        "GQA, no copies": (shared(lambda *inputs: lab.attend_grouped(*inputs)[0]), shared(torch_gqa)),
    }


def differences(ours: Any, theirs: Any, device: str, dtype: torch.dtype) -> tuple[float, float]:
    """Worst difference of the output, and of the gradients of x and context where both have one."""
    layer = nn.MultiheadAttention(24, 6, batch_first=True, device=device, dtype=dtype)
    nn.init.normal_(layer.in_proj_bias)
    nn.init.normal_(layer.out_proj.bias)
    x, context = (torch.randn(3, tokens, 24, dtype=dtype, device=device) for tokens in (9, 13))
    d_out = torch.randn_like(x)
    real = torch.arange(13, device=device) < torch.tensor([[13], [5], [1]], device=device)
    found = []
    for form in (ours, theirs):
        leaves = [value.clone().requires_grad_() for value in (x, context)]
        out = form(layer, *leaves, real)
        d = d_out if out.dim() == 3 else d_out.unflatten(-1, (6, -1)).transpose(1, 2)
        gradients = torch.autograd.grad(out, leaves, d, materialize_grads=True, allow_unused=True)
        found.append([out.detach(), *gradients])
    worst = [(a - b).abs().max().item() for a, b in zip(*found)]
    return worst[0], max(worst[1:])


def cache_sizes(lab: SimpleNamespace) -> dict[str, dict[str, float]]:
    results, rows = {}, []
    for name, (shape, (tokens, batch, width)) in MODELS.items():
        size = lab.kv_cache_bytes(lab.CacheShape(*shape), tokens, batch, width)
        results[name.lower().replace(",", "").replace(" ", "-")] = {"gb": size / 1e9, "gib": size / 2**30}
        rows.append([name, f"{tokens:,}", batch, width, f"{size / 1e9:.2f}", f"{size / 2**30:.2f}"])
    print("Keys and values kept while generating:\n")
    print(run.table(["model", "tokens", "batch", "bytes", "GB", "GiB"], rows) + "\n")
    return results


# ---------------------------------------------------------------- two jobs, one or more heads


def two_jobs(args: Any, lab: SimpleNamespace) -> dict[str, Any]:
    """One, two and four heads of the same total width on a task of two lookups; where do they look?"""
    exam = task.lookups(500, 2, torch.Generator().manual_seed(args.seed + 10_000), args.device)
    steps = args.steps // 3
    found: dict[str, Any] = {"steps": steps, "seeds": args.seeds}
    curves, models = {}, {}
    for heads in HEADS:
        runs = [trained(args, lab, 2, heads, heads, args.seed + i, steps) for i in range(args.seeds)]
        models[heads], curves[heads] = runs[0][0], torch.tensor([accuracy for _, accuracy in runs])
        jobs = torch.stack([task.score(model, exam) for model, _ in runs])  # (seeds, 2)
        found[str(heads)] = {
            "percent": 100 * jobs.mean().item(),
            "better_job_percent": 100 * jobs.amax(1).mean().item(),
            "worse_job_percent": 100 * jobs.amin(1).mean().item(),
            "weight_on_job": [on_target(weights, exam) for weights in models[heads].weights(exam).unbind(1)],
        }
    print(f"Two lookups per question, {steps} steps, mean of {args.seeds} seeds; % of the answers that are right\n")
    rows = [[n, *(f"{found[str(n)][f'{job}_percent']:.1f}" for job in ("better_job", "worse_job"))] for n in HEADS]
    print(run.table(["heads", "better job", "worse job"], rows) + "\n")
    print("Weight on the item each job asks for (letter, number), first seed\n")
    rows = [
        [n, h + 1, *(f"{weight:.2f}" for weight in pair)]
        for n in HEADS for h, pair in enumerate(found[str(n)]["weight_on_job"])
    ]  # fmt: skip
    print(run.table(["heads", "head", "letter", "number"], rows) + "\n")
    plot_jobs(args, models[2].weights(exam), exam, curves)
    return found


def trained(
    args: Any, lab: SimpleNamespace, jobs: int, heads: int, kv_heads: int, seed: int, steps: int
) -> tuple[task.LookupModel, list[float]]:
    """A new model after `steps` steps, and its accuracy on every batch."""
    torch.manual_seed(seed)
    model = task.LookupModel(lab, jobs, heads, kv_heads).to(args.device)
    words = f"{heads} heads, {kv_heads} of keys and values, seed {seed}"
    return model, task.train(model, steps, seed, args.device, words)


def on_target(weights: Tensor, exam: task.Lookups) -> list[float]:
    """Mean weight (B, T, S) that a head puts on the item meant by each job."""
    return weights.gather(2, exam.places).mean((0, 1)).tolist()


def plot_jobs(args: Any, weights: Tensor, exam: task.Lookups, curves: dict[int, Tensor]) -> None:
    example = int((exam.real.sum(1) == task.SLOTS - 3).nonzero()[0, 0])
    places, length = exam.places[example].cpu(), task.SLOTS - 3
    names = [f"{string.ascii_uppercase[letter]}\n{number + 1}" for letter, number in exam.items[example].tolist()]
    asked = [f"{string.ascii_uppercase[letter]}?  {number + 1}?" for letter, number in exam.asked[example].tolist()]
    fig, axes = run.figure(1, 3, width=11, height=3.9)
    for h, ax in enumerate(axes[:2]):
        ax.imshow(weights[example, h].cpu(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for job, (marker, color) in enumerate((("o", "#D55E00"), ("s", "#009E73"))):
            ax.scatter(places[:, job], range(task.QUESTIONS), s=150, marker=marker, facecolors="none",
                       edgecolors=color, linewidths=1.8)  # fmt: skip
        ax.set_xticks(range(task.SLOTS), [*names[:length], *["·"] * (task.SLOTS - length)])
        ax.set_yticks(range(task.QUESTIONS), asked if h == 0 else [])
        ax.grid(False)
        ax.set(title=f"Head {h + 1} of 2", xlabel="items; · is padding")
    for heads, accuracy in curves.items():
        draw_band(axes[2], accuracy, f"{heads} head{'s' if heads > 1 else ''}")
    axes[2].set(title="Answers found", xlabel="training step", ylabel="% of a new batch", ylim=(0, 102))
    axes[2].legend(loc="lower right")
    run.save_figure(args, fig, "two_jobs.png")
    print()


def draw_band(ax: Any, accuracy: Tensor, label: str, window: int = 10) -> None:
    """Mean, lowest and highest of the seeds, each the mean of `window` batches.    accuracy: (seeds, steps)"""
    window = min(window, accuracy.size(1))
    smooth = 100 * accuracy.unfold(1, window, 1).mean(2)
    steps = range(window, window + smooth.size(1))
    ax.plot(steps, smooth.mean(0), label=label)
    ax.fill_between(steps, smooth.amin(0), smooth.amax(0), alpha=0.2)


# ---------------------------------------------------------------- fewer key-value heads


def sharing(args: Any, lab: SimpleNamespace) -> dict[str, Any]:
    """Four lookups, eight query heads, 8 to 1 key-value heads: trained from scratch, and pooled from an MHA."""
    exam = task.lookups(500, 4, torch.Generator().manual_seed(args.seed + 20_000), args.device)
    found: dict[str, Any] = {"steps": args.steps, "uptrain": args.uptrain, "seeds": args.seeds}
    curves, parents = {}, []
    for name, kv_heads in SHARED.items():
        runs = [trained(args, lab, 4, 8, kv_heads, args.seed + i, args.steps) for i in range(args.seeds)]
        curves[name] = torch.tensor([accuracy for _, accuracy in runs])
        parents = parents or [model for model, _ in runs]  # those of MHA
        found[name] = {
            "bytes_per_token": lab.kv_cache_bytes(lab.CacheShape(1, 8, kv_heads, task.WIDTH // 8), 1, 1, 4),
            "scratch_percent": percent([model for model, _ in runs], exam),
            "early_percent": 100 * curves[name][:, : args.uptrain][:, -10:].mean().item(),  # the last ten batches
        }
        pooled = [copy.deepcopy(parent) for parent in parents]
        for model in pooled:
            model.attention = lab.with_kv_heads(model.attention, kv_heads)
        found[name]["pooled_percent"] = percent(pooled, exam)
        for i, model in enumerate(pooled):
            task.train(model, args.uptrain, args.seed + 100 + i, args.device, f"{name}, uptraining")
        found[name]["uptrained_percent"] = percent(pooled, exam)
    print(f"Four lookups per question, 8 query heads, {args.steps} steps, mean of {args.seeds} seeds; % right:")
    print(f"at the end, after {args.uptrain} steps (early), pooled from the MHA, and that {args.uptrain} steps on\n")
    kinds = [f"{kind}_percent" for kind in ("scratch", "early", "pooled", "uptrained")]
    rows = [
        [name, kv_heads, found[name]["bytes_per_token"], *(f"{found[name][kind]:.1f}" for kind in kinds)]
        for name, kv_heads in SHARED.items()
    ]
    print(run.table(["", "kv heads", "B/token", "end", "early", "pooled", "uptrained"], rows) + "\n")
    plot_sharing(args, found, curves)
    return found


def percent(models: list[task.LookupModel], exam: task.Lookups) -> float:
    return 100 * torch.stack([task.score(model, exam) for model in models]).mean().item()


def plot_sharing(args: Any, found: dict[str, Any], curves: dict[str, Tensor]) -> None:
    fig, (left, right) = run.figure(1, 2, width=10, height=4)
    for name, accuracy in curves.items():
        draw_band(left, accuracy, name)
    left.set(title="Four lookups, 8 query heads", xlabel="training step", ylabel="% of a new batch", ylim=(0, 102))
    left.legend(loc="lower right")
    sizes = [found[name]["bytes_per_token"] for name in SHARED]
    labels = {
        "scratch": "from scratch",
        "uptrained": f"pooled, {found['uptrain']} steps on",
        "pooled": "pooled MHA",
    }
    for (kind, label), marker in zip(labels.items(), "os^"):
        right.semilogx(sizes, [found[name][f"{kind}_percent"] for name in SHARED], marker=marker, label=label, base=2)
    right.set_xticks(sizes, [f"{name}\n{size} B" for name, size in zip(SHARED, sizes)])
    right.minorticks_off()
    right.set(title="What a smaller cache costs", xlabel="cache per token", ylabel="% right", ylim=(0, 104))
    right.legend(loc="lower right")
    run.save_figure(args, fig, "sharing.png")
    print()
