"""Two experiments with many short trainings: a scaling law that predicts, and what depth, width and parts are worth.

python solution.py --scale --data python-docs      four sizes, a fit, and a fifth size that was predicted first
python solution.py --ablate --data python-docs     a base model, and models that differ from it in one thing

All models of an experiment read the same batches in the same order. Loss: held-out nats per token. The vocabulary is
small, so that the parameters are in the matrices and not in the table of tokens.
"""

from __future__ import annotations

import copy
import statistics
import time
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from labkit import run
from labkit.reference.mini_transformer import GPTConfig, MiniGPT, parameter_groups
from labkit.reference.nano_gpt import floors, nano_gpt_report, run_log
from labkit.reference.training_loop import Trainer, learning_rate

SIZES = {  # widths: those of the fit, then the one that is predicted
    "smoke": {
        "widths": [8, 16, 24, 32, 48], "updates": 4, "batch": 4, "length": 32, "windows": 8, "seeds": 1,
        "vocab_size": 320,
    },
    "cpu": {
        "widths": [16, 24, 32, 48, 96], "updates": 600, "batch": 8, "length": 128, "windows": 128, "seeds": 2,
        "vocab_size": 320,
    },
    "full": {
        "widths": [128, 192, 256, 384, 768], "updates": 20_000, "batch": 64, "length": 512, "windows": 512, "seeds": 2,
        "vocab_size": 4_096,
    },
}  # fmt: skip
LAYERS, BASE_WIDTH, HEAD = 3, 48, 8
ABLATIONS: dict[str, dict[str, Any]] = {  # what differs from the base
    "base": {},
    "depth 3 -> 1": {"n_layers": 1},
    "depth 3 -> 6": {"n_layers": 6},
    "width 48 -> 24": {"d_model": 24},
    "width 48 -> 96": {"d_model": 96},
    "SwiGLU -> GELU": {"mlp": "gelu"},
    "RMSNorm -> LayerNorm": {"norm": "layernorm"},
    "pre-norm -> post-norm": {"norm_position": "post"},
}


def peak(d_model: int) -> float:
    """The learning rate: wider models want less. With one for all widths the comparison would be about the rate."""
    return 4e-3 * (24 / d_model) ** 0.5


class Experiment:
    """Shards, held-out windows and the settings of a preset: what all short runs of a stage share."""

    def __init__(self, args: Any, lab: SimpleNamespace) -> None:
        self.args, self.lab, self.how = copy.copy(args), lab, SimpleNamespace(**SIZES[args.preset])
        self.args.vocab_size = self.how.vocab_size  # of the experiments, not of the model that --train makes
        folder = args.out / "experiments"
        self.about = nano_gpt_report.prepare(self.args, lab, folder)["data"]
        self.shards = lab.open_shards(folder, "train")
        held_out = np.concatenate(lab.open_shards(folder, "held_out"))
        self.windows = lab.fixed_windows(held_out, self.how.windows, self.how.length).to(args.device)

    def config(self, d_model: int = BASE_WIDTH, n_layers: int = LAYERS, **parts: Any) -> GPTConfig:
        return GPTConfig.llama(
            vocab_size=self.about["vocabulary"], block_size=self.how.length, tie_weights=True, d_model=d_model,
            n_heads=d_model // HEAD, n_layers=n_layers, **parts,
        )  # fmt: skip

    def losses(self, config: GPTConfig) -> list[float]:
        """Held-out loss after a short training, one per seed; a seed decides weights and batches."""
        return [self.train(config, seed) for seed in range(self.how.seeds)]

    def train(self, config: GPTConfig, seed: int) -> float:
        torch.manual_seed(seed)
        model = self.lab.Logits(MiniGPT(config)).to(self.args.device)
        optimizer = torch.optim.AdamW(self.lab.optimizer_groups(model, 0.1), betas=(0.9, 0.95))
        updates, rate = self.how.updates, peak(config.d_model)
        schedule = partial(learning_rate, peak=rate, warmup=updates // 20, total=updates, floor=rate / 10)
        batches = self.lab.RandomCrops(self.shards, self.how.batch, self.how.length, seed, self.args.device)
        for _ in Trainer(model, optimizer, batches, schedule).train(updates):
            pass
        return self.lab.estimate_loss(model, self.windows, 64)


def matrices(config: GPTConfig) -> int:
    """The parameters that grow with depth and width squared; the table of tokens is left out, as Kaplan et al. do."""
    groups = parameter_groups(config)
    return groups["attention"] + groups["mlp"]


def show_scaling(args: Any, lab: SimpleNamespace) -> None:
    """The law is written down before the last size is trained. Its floor: the entropy of the text if known, else 0."""
    experiment = Experiment(args, lab)
    floor = experiment.about.get("entropy", 0.0)
    points = [measure(experiment, width) for width in run.progress(experiment.how.widths[:-1], "four sizes")]
    factor, exponent = lab.fit_power_law([p["parameters"] for p in points], [p["loss"] for p in points], floor)
    law = {"floor": floor, "factor": factor, "exponent": exponent}
    last = measure(experiment, experiment.how.widths[-1])  # only now
    predicted = predict(law, last["parameters"])
    error = last["loss"] - predicted
    how = experiment.how
    print(f"{LAYERS} layers, {how.updates} updates of {how.batch} x {how.length} tokens, mean of {how.seeds} seeds\n")
    rows = [[p["width"], p["parameters"], p["loss"], predict(law, p["parameters"])] for p in [*points, last]]
    print(run.table(["width", "N (matrices)", "held out", "law"], rows) + "\n")
    print(f"loss = {floor:.3f} + {factor:.3f} N^-{exponent:.4f}, fitted to the first {len(points)}")
    print(f"predicted for width {last['width']}: {predicted:.3f}, then measured: {last['loss']:.3f} ({error:+.3f})\n")
    found = {"points": points, "last": last, "law": law, "predicted": predicted, "error": error}
    found["error_percent"] = 100 * error / predicted
    windows, entropy = experiment.windows.cpu().numpy(), experiment.about.get("entropy")
    found["floors"] = floors.of(experiment.shards, windows, experiment.about["vocabulary"], entropy)
    plot(experiment.args, found)
    run.save_results(experiment.args, found, "scaling")


def measure(experiment: Experiment, width: int) -> dict[str, Any]:
    config = experiment.config(width)
    losses = experiment.losses(config)
    return {"width": width, "parameters": matrices(config), "loss": statistics.fmean(losses), "losses": losses}


def predict(law: dict[str, float], parameters: int | np.ndarray) -> Any:
    return law["floor"] + law["factor"] * parameters ** -law["exponent"]


def plot(args: Any, found: dict[str, Any]) -> None:
    """Losses as they are, the law, drawn on past the sizes it was fitted to, and what costs no model."""
    fig, ax = run.figure(width=7, height=4.4)
    sizes = np.array([p["parameters"] for p in [*found["points"], found["last"]]])
    grid = np.geomspace(sizes.min() / 1.2, sizes.max() * 1.2, 100)
    ax.plot(grid, predict(found["law"], grid), color="0.4", label="power law")
    for point, color, marker in [*((p, "C0", "o") for p in found["points"]), (found["last"], "C1", "s")]:
        ax.plot([point["parameters"]] * len(point["losses"]), point["losses"], ".", color=color, alpha=0.5)
        fitted = "the sizes it was fitted to" if point is found["points"][0] else None
        label = "measured after the prediction" if point is found["last"] else fitted
        ax.plot(point["parameters"], point["loss"], marker, color=color, label=label)
    run_log.floor_lines(ax, found["floors"])
    ax.set(xscale="log", xlabel="parameters in matrices, without the token table", ylabel="held-out nats per token")
    ax.set(yscale="log", ylim=(1.5, 8))
    ax.set_yticks([2, 3, 4, 6], ["2", "3", "4", "6"])
    ax.minorticks_off()
    ax.legend()
    run.save_figure(args, fig, "scaling.png")


def show_ablations(args: Any, lab: SimpleNamespace) -> None:
    experiment = Experiment(args, lab)
    rows, found = [], {}
    for name, parts in run.progress(ABLATIONS.items(), "ablations", len(ABLATIONS)):
        config = experiment.config(**parts)
        began = time.perf_counter()
        losses = experiment.losses(config)
        entry = {
            "parameters": matrices(config), "loss": statistics.fmean(losses), "losses": losses,
            "spread": max(losses) - min(losses), "seconds": (time.perf_counter() - began) / len(losses),
        }  # fmt: skip
        base = found.setdefault("base", entry)
        entry["difference"] = entry["loss"] - base["loss"]
        found[key(name)] = entry
        rows.append([name, entry["parameters"], entry["loss"], entry["difference"], entry["spread"], entry["seconds"]])
    how = experiment.how
    print(f"{how.updates} updates of {how.batch} x {how.length} tokens, mean of {how.seeds} seeds\n")
    print(run.table(["", "N (matrices)", "held out", "difference", "spread", "seconds"], rows) + "\n")
    run.save_results(experiment.args, found, "ablations")


def key(name: str) -> str:
    """A name that a README can point at: "depth 3 -> 6" becomes depth_3_to_6."""
    return name.replace("->", "to").replace(" ", "_")
