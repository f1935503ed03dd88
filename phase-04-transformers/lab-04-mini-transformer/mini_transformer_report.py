"""What `python solution.py` (or your finished lab.py) shows: counts, sanity checks and what they miss, ablations.

`lab` is the namespace of the file that was started, so the numbers are those of the code in it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from labkit import run

PRESETS = {  # from steps on they are those of ablations.py
    "smoke": {
        "overfit_steps": 5, "compare": False, "steps": 2, "batch": 4, "seeds": 1, "depth": 2, "rates": [3e-3],
        "windows": 8, "characters": 20_000, "workers": 1,
    },
    "cpu": {
        "overfit_steps": 200, "compare": True, "steps": 200, "batch": 8, "seeds": 3, "depth": 8,
        "rates": [1e-3, 3e-3, 1e-2], "windows": 128, "characters": 1_200_000, "workers": 2,
    },
    "full": {
        "overfit_steps": 200, "compare": True, "steps": 5_000, "batch": 16, "seeds": 5, "depth": 24,
        "rates": [3e-4, 1e-3, 3e-3, 1e-2], "windows": 2_000, "characters": 10**9, "workers": 2,
    },
}  # fmt: skip
SMALL = {"vocab_size": 256, "block_size": 32, "n_layers": 2, "n_heads": 4, "d_model": 64}
KNOWN = {  # published sizes
    "GPT-2 small": {},
    "GPT-2 XL": {"n_layers": 48, "n_heads": 25, "d_model": 1600},
    "Llama 2 7B": {"vocab_size": 32_000, "n_layers": 32, "n_heads": 32, "d_model": 4096, "d_ff": 11_008},
    "Llama 3 8B": {
        "vocab_size": 128_256, "n_layers": 32, "n_heads": 32, "n_kv_heads": 8, "d_model": 4096, "d_ff": 14_336,
    },
}  # fmt: skip


def show(args: Any, lab: Any, corpus: Any) -> None:
    from labkit.reference.mini_transformer import ablations

    text = corpus.text[: args.characters].encode()
    results = {
        "counts": show_counts(lab),
        "sanity": show_sanity(args, lab),
        "blindness": show_blindness(args, lab),
    }
    if args.compare:
        results["transformers"] = show_agreement(lab)
    args.lab_file = lab.__file__
    results["ablations"] = ablations.show(args, lab, text)
    run.save_results(args, results)


def show_counts(lab: Any) -> dict[str, Any]:
    rows, found = [], {}
    for name, sizes in KNOWN.items():
        config = (lab.GPTConfig.llama if "Llama" in name else lab.GPTConfig.gpt2)(**sizes)
        groups = lab.parameter_groups(config)
        total, flops = lab.count_parameters(config), lab.flops_per_token(config, 1024)
        tables = groups["embedding"] + groups["positions"] + groups["head"]
        rows.append([name, total, groups["attention"], groups["mlp"], tables, flops / 1e9])
        found[name.replace(" ", "_")] = {"parameters": total, "gflop_per_token": flops / 1e9}
    print("Counted without building anything; GFLOP: one training step per token, sequences of 1,024\n")
    print(run.table(["model", "parameters", "attention", "mlp", "tables", "GFLOP"], rows) + "\n")
    return found


# ---------------------------------------------------------------- sanity checks


def leak(model: nn.Module, length: int = 24, **how: Any) -> float:
    """How far a changed last token moves an earlier logit: exactly 0 in a causal model."""
    tokens = torch.arange(length)[None] % 7
    changed = tokens.clone()
    changed[:, -1] += 1
    device = next(model.parameters()).device
    with torch.no_grad():
        before, after = (model(x.to(device), **how)[0][:, :-1] for x in (tokens, changed))
    return (after - before).abs().max().item()


def overfit(model: nn.Module, inputs: Tensor, targets: Tensor, steps: int, **how: Any) -> list[float]:
    """The loss on one and the same batch, step by step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    losses = []
    for _ in range(steps):
        loss = model(inputs, targets, **how)[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def show_sanity(args: Any, lab: Any) -> dict[str, Any]:
    torch.manual_seed(args.seed)
    kinds = {
        "gpt2": lab.GPTConfig.gpt2(**SMALL),
        "llama": lab.GPTConfig.llama(**SMALL, n_kv_heads=2),
        "sinusoidal, post": lab.GPTConfig.gpt2(**SMALL, pos="sinusoidal", norm_position="post"),
        "alibi": lab.GPTConfig.gpt2(**SMALL, pos="alibi"),
    }
    floor = math.log(SMALL["vocab_size"])
    ceiling = floor + 0.0002 * SMALL["d_model"] + 0.05
    ids = torch.randint(SMALL["vocab_size"], (8, 33), device=args.device)
    many = torch.randint(SMALL["vocab_size"], (64, 33), device=args.device)
    rows, found = [], {}
    for name, config in run.progress(kinds.items(), "sanity"):
        model = lab.MiniGPT(config).to(args.device)
        with torch.no_grad():
            start = model(*lab.shift(many))[1].item()
        counted = lab.count_parameters(config)
        exact = counted == sum(p.numel() for p in model.parameters())
        moved, end = leak(model), overfit(model, *lab.shift(ids), args.overfit_steps)[-1]
        rows.append([name, counted, exact, start, moved == 0, end])
        found[name.replace(", ", "_")] = {"parameters": counted, "start": start, "leak": moved, "end": end}
    print(f"Sanity: ln V = {floor:.3f}, the first loss should lie between that and {ceiling:.3f}\n")
    headers = ["model", "parameters", "formula", "first loss", "causal", f"step {args.overfit_steps}"]
    print(run.table(headers, rows) + "\n")
    return found | {"floor": floor, "ceiling": ceiling}


class NoResidual(nn.Module):
    """A block that forgot to add."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, rotation: Any, mask: Any) -> Tensor:
        x = self.block.attention(self.block.attention_norm(x), rotation, mask)
        return self.block.mlp(self.block.mlp_norm(x))


def show_blindness(args: Any, lab: Any) -> dict[str, Any]:
    """The overfit test on a right model and on four wrong ones: two of the bugs make it easier, not harder."""
    length = SMALL["block_size"]
    ids = torch.randint(SMALL["vocab_size"], (8, length + 1), device=args.device)
    inputs, targets = lab.shift(ids)
    ahead = torch.ones(length, length, dtype=torch.bool, device=args.device).triu()
    sees_all = lab.GPTConfig.gpt2(**SMALL, causal=False)
    right = lab.GPTConfig.gpt2(**SMALL)
    cases: dict[str, tuple[Any, Tensor, dict[str, Any]]] = {
        "right": (right, targets, {}),
        "shift forgotten": (right, inputs, {}),
        "mask forgotten": (sees_all, targets, {}),
        "mask flipped": (sees_all, targets, {"mask": ahead}),
        "no residuals": (right, targets, {}),
    }
    curves, rows, found = {}, [], {}
    for name, (config, wanted, how) in run.progress(cases.items(), "wrong models"):
        torch.manual_seed(args.seed)
        model = lab.MiniGPT(config).to(args.device)
        if name == "no residuals":
            model.blocks = nn.ModuleList(NoResidual(block) for block in model.blocks)
        moved = leak(model, length, **how)
        curves[name] = overfit(model, inputs, wanted, args.overfit_steps, **how)
        rows.append([name, curves[name][0], curves[name][-1], curves[name][-1] < 0.05, moved == 0])
        found[name.replace(" ", "_")] = {"start": curves[name][0], "end": curves[name][-1], "leak": moved}
    print("What the checks see of five models\n")
    print(run.table(["model", "first loss", "last loss", "overfits", "causal"], rows) + "\n")
    plot_blindness(args, curves)
    return found


def plot_blindness(args: Any, curves: dict[str, list[float]]) -> None:
    fig, ax = run.figure(width=7, height=4)
    for (name, losses), style in zip(curves.items(), ("-", "--", "-.", ":", "-")):
        ax.semilogy(range(1, len(losses) + 1), losses, style, linewidth=2, label=name)
    ax.axhline(0.05, color="0.5", linewidth=1)
    ax.text(len(curves["right"]), 0.054, "passes below 0.05", color="0.35", fontsize=9, ha="right")
    ax.set(title="Overfitting one batch", xlabel="step", ylabel="loss, nats")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    run.save_figure(args, fig, "overfit.png")


# ---------------------------------------------------------------- transformers


def show_agreement(lab: Any) -> dict[str, float]:
    """Largest difference of the logits from transformers' models with random weights, in float32 and in float64."""
    try:
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging
    except ImportError:
        print("transformers is not installed: no comparison\n")
        return {}
    logging.set_verbosity_error()
    from labkit.reference.mini_transformer import hf_weights

    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    llama3 |= {"original_max_position_embeddings": 16}
    kinds = {
        "GPT2LMHeadModel": lab.GPTConfig.gpt2(**SMALL),
        "LlamaForCausalLM, GQA": lab.GPTConfig.llama(**SMALL, n_kv_heads=2),
        "LlamaForCausalLM, scaled RoPE, tied": lab.GPTConfig.llama(**SMALL, rope_scaling=llama3, tie_weights=True),
    }
    tokens = torch.randint(SMALL["vocab_size"], (2, 32))
    rows, found = [], {}
    for name, config in kinds.items():
        torch.manual_seed(0)
        theirs = AutoModelForCausalLM.from_config(hf_weights.config_to_transformers(config)).eval()
        for parameter in theirs.parameters():
            nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=0.1)  # nothing may be 0 or 1 by chance
        ours = lab.MiniGPT(config).eval()
        ours.load_state_dict(hf_weights.state_from_transformers(theirs.state_dict(), config))
        with torch.no_grad():
            logits, wanted = ours(tokens)[0], theirs(tokens).logits
            wide = ours.double()(tokens)[0] - theirs.double()(tokens).logits
        apart, apart_wide = (logits - wanted).abs().max().item(), wide.abs().max().item()
        same = (logits.argmax(-1) == wanted.argmax(-1)).float().mean().item()
        rows.append([name, wanted.std().item(), f"{apart:.1e}", f"{apart_wide:.1e}", same])
        key = name.replace(", ", "_").replace(" ", "_")
        found |= {key: apart, f"{key}_float64": apart_wide}
    print("Logits against transformers, same random weights\n")
    print(run.table(["model", "std of logits", "apart in float32", "in float64", "same choice"], rows) + "\n")
    return found
