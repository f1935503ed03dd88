"""The house models: a target and a draft for the labs of phases 6 to 11, and how they are made.

python house_models.py --prepare                  tokenizer and shards
python house_models.py --train target draft       goes on where it was stopped
python house_models.py --export                   weights, tokenizers, scores, figure -> house-models/
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from labkit.reference.bpe_tokenizer import BPETokenizer
from labkit.reference.mini_transformer import IGNORE, GPTConfig, MiniGPT, hf_weights
from labkit.reference.nano_gpt import Logits, house_data, open_shards, run_log
from labkit.reference.training_loop import (
    Muon,
    SpikeGuard,
    Trainer,
    learning_rate,
    load_checkpoint,
    save_checkpoint,
    summed_nats,
)

HERE = Path(__file__).parent
RECIPES: dict[str, dict[str, Any]] = {
    "target": {"n_layers": 4, "n_heads": 4, "d_model": 256, "ends": [4_900, 6_400], "decay": 900, "peak": 3e-3},
    "draft": {"n_layers": 3, "n_heads": 3, "d_model": 96, "ends": [800], "decay": 200, "peak": 4e-3},
}  # ends: updates after which the rate has fallen; each falls from the plateau, which goes on beside it
BATCH, ACCUMULATION, WARMUP = 16, 2, 100
EVERY = 100  # updates between two evaluations
CHECKPOINT_SECONDS = 100.0


def folder_of(name: str) -> Path:
    """The folder of "target" or "draft", for `AutoModelForCausalLM.from_pretrained` and everything else."""
    if name not in RECIPES:
        raise ValueError(f"name: expected target or draft, got {name!r}")
    return HERE / "house-models" / name


def load(name: str, device: str = "cpu") -> tuple[MiniGPT, BPETokenizer]:
    """The target or the draft as a MiniGPT, in eval mode and float32, and the tokenizer, which both share."""
    folder = folder_of(name)
    config = hf_weights.config_from_transformers(SimpleNamespace(**json.loads((folder / "config.json").read_text())))
    weights = {key: tensor.float() for key, tensor in load_file(folder / "model.safetensors").items()}
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]  # tied, and therefore stored once
    gpt = hf_weights.filled(config, hf_weights.state_from_transformers(weights, config))
    return gpt.to(device).eval(), BPETokenizer.load(folder / "tokenizer.json")


# ---------------------------------------------------------------- training


class FastMuon(Muon):
    """Muon of lab 5.3, with the matrix products of its Newton-Schulz iteration in bfloat16."""

    def step(self) -> None:
        with torch.autocast(self.param_groups[0]["params"][0].device.type, torch.bfloat16):
            super().step()


def make_optimizer(model: nn.Module, peak: float) -> FastMuon:
    """Muon for the matrices of the blocks; AdamW without decay for the table and the norms."""
    hidden = [p for name, p in model.named_parameters() if p.dim() == 2 and ".blocks." in name]
    inside = {id(p) for p in hidden}
    rest = [p for p in model.parameters() if id(p) not in inside]
    groups = [
        {"params": hidden, "weight_decay": 0.1},
        {"params": [p for p in rest if p.dim() == 2], "orthogonal": False, "weight_decay": 0.0},
        {"params": [p for p in rest if p.dim() < 2], "orthogonal": False, "weight_decay": 0.0},
    ]
    return FastMuon(groups, lr=peak, betas=(0.9, 0.95))


def make_trainer(name: str, folder: Path, end: int) -> Trainer:
    """A fresh trainer whose rate falls in the last updates before `end`."""
    recipe = RECIPES[name]
    meta = json.loads((folder / "shards.json").read_text(encoding="utf-8"))
    torch.manual_seed(0)
    sizes = {key: recipe[key] for key in ("n_layers", "n_heads", "d_model")}
    config = GPTConfig.llama(vocab_size=meta["vocab_size"], block_size=512, tie_weights=True, **sizes)
    model = Logits(MiniGPT(config))
    batches = house_data.WholeDocuments(open_shards(folder, "train")[0], meta["eot"], BATCH, seed=1)
    peak, decay = recipe["peak"], recipe["decay"]
    schedule = partial(learning_rate, peak=peak, warmup=WARMUP, total=end, decay=decay, floor=0.02 * peak)
    return Trainer(
        model, make_optimizer(model, peak), batches, schedule, accumulation=ACCUMULATION, dtype=torch.bfloat16,
        guard=SpikeGuard(),
    )  # fmt: skip


@torch.no_grad()
def mean_nats(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    """Nats per token over batches of whole documents, of which the parts after the end are not scored."""
    model.eval()
    with torch.autocast("cpu", torch.bfloat16):
        total = sum(float(summed_nats(model(inputs), targets)) for inputs, targets in batches)
    model.train()
    return total / sum(int((targets != IGNORE).sum()) for _, targets in batches)


def train(name: str, folder: Path, compiled: bool) -> None:
    """For each end: the plateau up to where the rate begins to fall, and a branch from there. Goes on from checkpoints.

    The plateau is in NAME.ckpt and NAME.jsonl, a branch in NAME-END.ckpt and NAME-END.jsonl.
    """
    for end in RECIPES[name]["ends"]:
        branch = folder / f"{name}-{end}.ckpt"
        if not branch.exists():
            run_stage(make_trainer(name, folder, end), folder, name, end - RECIPES[name]["decay"], compiled)
            for suffix in ("jsonl", "ckpt"):
                shutil.copy(folder / f"{name}.{suffix}", folder / f"{name}-{end}.{suffix}")
        run_stage(make_trainer(name, folder, end), folder, f"{name}-{end}", end, compiled)


def run_stage(trainer: Trainer, folder: Path, file: str, updates: int, compiled: bool) -> None:
    """Goes on to so many updates from FILE.ckpt, if there is one."""
    meta = json.loads((folder / "shards.json").read_text(encoding="utf-8"))
    held_out = house_data.WholeDocuments(open_shards(folder, "validation")[0], meta["eot"], BATCH)
    held_out_batches = [next(held_out) for _ in range(8)]
    path, history = folder / f"{file}.ckpt", folder / f"{file}.jsonl"
    if path.exists():
        trainer.load_state_dict(load_checkpoint(path))
        print(f"{file}: going on after update {trainer.step:,}")
    if compiled:
        gpt = trainer.model.gpt
        gpt.forward = torch.compile(gpt.forward, dynamic=True)
    saved, began = time.perf_counter(), time.process_time()
    spent = max([record["cpu"] for record in run_log.read(history)], default=0.0) if trainer.step else 0.0
    tokens = BATCH * ACCUMULATION * 210  # about, for the bar: a story has 206 tokens, and two ends
    with run_log.Log(history, None, trainer.step) as log, run_log.bar(updates, trainer.step, tokens) as tell:
        while trainer.step < updates:
            record = vars(trainer.update()) | {"step": trainer.step, "cpu": spent + time.process_time() - began}
            if trainer.step % EVERY == 0 or trainer.step == updates:
                record["held_out"] = mean_nats(trainer.model, held_out_batches)
            log.write(record)
            tell(record)
            if time.perf_counter() - saved > CHECKPOINT_SECONDS or trainer.step == updates:
                save_checkpoint(path, trainer.state_dict())
                saved = time.perf_counter()


def trained(name: str, folder: Path) -> MiniGPT:
    """The mean of the weights at all ends, rounded to bfloat16, as it will be stored. Wortsman et al. 2022"""
    ends = RECIPES[name]["ends"]
    states = [load_checkpoint(folder / f"{name}-{end}.ckpt")["parts"]["model"] for end in ends]
    mean = {key: sum(state[key].float() for state in states) / len(states) for key in states[0]}
    gpt = make_trainer(name, folder, max(ends)).model.gpt
    gpt.load_state_dict({key.removeprefix("gpt."): tensor.bfloat16().float() for key, tensor in mean.items()})
    return gpt.eval()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--train", nargs="+", choices=list(RECIPES), default=[])
    parser.add_argument("--export", action="store_true")
    parser.add_argument("--folder", type=Path, default=HERE / "out" / "house", help="where shards and checkpoints are")
    parser.add_argument("--stories", type=int, default=house_data.STORIES)
    parser.add_argument("--compile", action="store_true", help="torch.compile: faster, a minute to start")
    args = parser.parse_args(argv)
    if args.prepare:
        house_data.prepare(args.folder, args.stories)
    for name in args.train:
        train(name, args.folder, args.compile)
    if args.export:
        from labkit.reference.nano_gpt import house_export

        house_export.export(args.folder)


if __name__ == "__main__":
    main()
