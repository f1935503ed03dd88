"""What `python solution.py` (or your finished lab.py) does: prepare, train, sample, and the figure of the run.

`lab` is the namespace of the file that was started, so the code that runs is the code in it.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from labkit import data, run
from labkit.reference.bpe_tokenizer import BPETokenizer
from labkit.reference.mini_transformer import GPTConfig, MiniGPT, count_parameters
from labkit.reference.nano_gpt import floors, run_log
from labkit.reference.training_loop import LossScaler, Muon, SpikeGuard, Trainer, learning_rate, load_checkpoint

PRESETS = {
    "smoke": {
        "documents": 80, "vocab_size": 320, "d_model": 32, "n_layers": 2, "n_heads": 2, "length": 64,
        "batch": 8, "accumulation": 1, "updates": 10, "warmup": 3, "peak": 3e-3, "every": 5, "windows": 16,
        "temperatures": [0.0, 1.0], "new_tokens": 12,
    },
    "cpu": {
        "documents": 30_000, "vocab_size": 2_048, "d_model": 96, "n_layers": 3, "n_heads": 3, "length": 256,
        "batch": 16, "accumulation": 1, "updates": 1_500, "warmup": 50, "peak": 4e-3, "every": 100, "windows": 64,
        "temperatures": [0.0, 0.5, 1.0, 1.5], "new_tokens": 250,
    },
    "full": {
        "documents": 2_000_000, "vocab_size": 8_192, "d_model": 512, "n_layers": 8, "n_heads": 8, "length": 512,
        "batch": 32, "accumulation": 4, "updates": 20_000, "warmup": 500, "peak": 1e-3, "every": 500, "windows": 512,
        "temperatures": [0.0, 0.5, 1.0, 1.5], "new_tokens": 500,
    },
}  # fmt: skip
STAGES = {
    "prepare": "train the tokenizer and write the shards",
    "train": "train on the shards, or go on where an earlier run was stopped",
    "sample": "write with the best checkpoint",
    "scale": "fit a power law to four sizes, and predict a fifth",
    "ablate": "what depth, width, activation and norm are worth",
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    for name, text in STAGES.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    parser.add_argument("--optimizer", choices=["muon", "adamw"], default="muon", help="default muon")
    parser.add_argument("--schedule", choices=["cosine", "wsd"], default="cosine", help="default cosine")
    parser.add_argument("--prompt", default="", help="what the samples begin with, default nothing")
    parser.add_argument("--log", choices=["tensorboard", "wandb"], help="besides log.jsonl, if it is installed")


def show(args: Any, lab: SimpleNamespace) -> None:
    """The stages that were asked for; without any, the first three, from scratch."""
    from labkit.reference.nano_gpt import scaling  # it needs this module

    args.out.mkdir(parents=True, exist_ok=True)
    folder = args.out / "run"
    if args.scale:
        scaling.show_scaling(args, lab)
    if args.ablate:
        scaling.show_ablations(args, lab)
    stages = [name for name in ("prepare", "train", "sample") if getattr(args, name)]
    if not (stages or args.scale or args.ablate):
        shutil.rmtree(folder, ignore_errors=True)
        stages = ["prepare", "train", "sample"]
    results: dict[str, Any] = {}
    for name in stages:
        results |= globals()[name](args, lab, folder)
    if results:
        run.save_results(args, results, f"results{suffix(args)}")


def suffix(args: Any) -> str:
    """What the names of files get, so that a run on other text leaves those of the default text alone."""
    return "" if args.data == "tinyworld" else f"-{Path(args.data).stem}"


# ---------------------------------------------------------------- prepare


def texts(args: Any) -> tuple[list[str], list[str], float | None]:
    """Documents to train on, documents held out, and the generator's nats for the latter, where there is a generator.

    A corpus without a held-out part of its own gives its last twentieth.
    """
    try:
        corpus = data.load(args.data, limit=args.documents)
        args.data_versions = dict(corpus.versions)
        if args.data == "tinyworld":
            held_out = data.load("tinyworld-validation", limit=max(20, args.documents // 20)).records
            return [d.text for d in corpus.documents], [r["text"] for r in held_out], sum(r["nats"] for r in held_out)
    except data.DataUnavailable as problem:
        raise SystemExit(str(problem)) from None
    documents = [document.text for document in corpus.documents]
    cut = len(documents) - max(1, len(documents) // 20)
    return documents[:cut], documents[cut:], None


def prepare(args: Any, lab: SimpleNamespace, folder: Path) -> dict[str, Any]:
    began = time.perf_counter()
    train, held_out, nats = texts(args)
    tokenizer = BPETokenizer.train(train[:5000], args.vocab_size)
    tokenizer.save(folder / "tokenizer")
    encode, how = tokenizer.encode_ordinary, {"eot": tokenizer.eot_id, "vocab_size": tokenizer.n_vocab}
    ids = {}
    for split, documents in (("train", train), ("held_out", held_out)):
        documents = run.progress(documents, f"tokenizing {split}")
        ids[split] = lab.write_shards(map(encode, documents), folder, split, **how, shard_tokens=2**20)
    characters = sum(map(len, train))
    about = {
        "data": args.data,
        "documents": len(train),
        "tokens": ids["train"],
        "held_out_tokens": ids["held_out"],
        "vocabulary": tokenizer.n_vocab,
        "characters_per_token": characters / ids["train"],
    }
    if nats is not None:
        about["entropy"] = nats / ids["held_out"]
    (folder / "data.json").write_text(json.dumps(about), encoding="utf-8")
    seconds = time.perf_counter() - began
    print(f"{len(train):,} documents, {ids['train']:,} tokens to train on, {ids['held_out']:,} held out")
    print(f"vocabulary {tokenizer.n_vocab:,}, {characters / ids['train']:.2f} characters per token, {seconds:.0f} s\n")
    return {"data": about | {"seconds": seconds}}


# ---------------------------------------------------------------- train


def fastest_dtype(model: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.dtype | None:
    """16 bits where they are faster: FP16 on GPUs without BF16, on a CPU what wins in a short trial.

    None: float32 throughout. What was tried leaves no gradient behind.
    """
    inputs, targets = batch
    if inputs.device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability() >= (8, 0) else torch.float16
    if inputs.device.type != "cpu":
        return None
    seconds: dict[torch.dtype | None, float] = {}
    for dtype in (torch.bfloat16, None) * 3:
        began = time.perf_counter()
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            loss = torch.nn.functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        loss.backward()
        seconds[dtype] = min(seconds.get(dtype, math.inf), time.perf_counter() - began)
        model.zero_grad()
    return min(seconds, key=seconds.__getitem__)


def muon_groups(groups: list[dict[str, Any]], model: torch.nn.Module) -> list[dict[str, Any]]:
    """Each group in two: the matrices of the blocks, which are orthogonalized, and what AdamW goes on updating."""
    hidden = {id(p) for name, p in model.named_parameters() if ".blocks." in name and p.dim() == 2}
    found = []
    for group in groups:
        for orthogonal in (True, False):
            chosen = [p for p in group["params"] if (id(p) in hidden) == orthogonal]
            found += [group | {"params": chosen, "orthogonal": orthogonal}] if chosen else []
    return found


def new_trainer(args: Any, lab: SimpleNamespace, config: GPTConfig, shards: list[np.ndarray]) -> Trainer:
    """A fresh model with the optimizer and the schedule of args."""
    torch.manual_seed(args.seed)
    model = lab.Logits(MiniGPT(config)).to(args.device)
    batches = lab.RandomCrops(shards, args.batch, args.length, args.seed, args.device)
    groups = lab.optimizer_groups(model, 0.1)
    if args.optimizer == "muon":
        optimizer: torch.optim.Optimizer | Muon = Muon(muon_groups(groups, model), betas=(0.9, 0.95))
    else:
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=args.device != "mps")
    decay = args.updates // 5 if args.schedule == "wsd" else None
    schedule = partial(
        learning_rate, peak=args.peak, warmup=args.warmup, total=args.updates, floor=args.peak / 10, decay=decay
    )
    dtype = fastest_dtype(model, next(batches))
    batches.load_state_dict({"drawn": 0})
    scaler = LossScaler() if dtype == torch.float16 else None
    return Trainer(
        model, optimizer, batches, schedule, accumulation=args.accumulation, dtype=dtype, scaler=scaler,
        guard=SpikeGuard(),
    )  # fmt: skip


def with_progress(records: Iterator[dict], args: Any, done: int) -> Iterator[dict]:
    """Passes records on; the bar shows the loss, tokens per second and the time that is left."""
    with run_log.bar(args.updates, done, args.batch * args.accumulation * args.length) as tell:
        for record in records:
            tell(record)
            yield record


def train(args: Any, lab: SimpleNamespace, folder: Path) -> dict[str, Any]:
    if not (folder / "shards.json").exists():
        raise SystemExit("there is nothing to train on yet: python solution.py --prepare")
    about = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    shards, held_out = lab.open_shards(folder, "train"), np.concatenate(lab.open_shards(folder, "held_out"))
    config = GPTConfig.llama(
        vocab_size=about["vocabulary"], block_size=args.length, n_layers=args.n_layers, n_heads=args.n_heads,
        d_model=args.d_model, tie_weights=True,
    )  # fmt: skip
    (folder / "model.json").write_text(json.dumps(asdict(config)), encoding="utf-8")
    trainer = new_trainer(args, lab, config, shards)
    count = min(args.windows, (len(held_out) - 1) // args.length)
    windows = lab.fixed_windows(held_out, count, args.length).to(args.device)
    resumed = (folder / "last.ckpt").exists()
    done = load_checkpoint(folder / "last.ckpt")["step"] if resumed else 0
    if resumed:
        print(f"going on after update {done:,}")
    records = lab.train(trainer, args.updates, windows, folder, every=args.every, batch=args.batch)
    began, cpu = time.perf_counter(), time.process_time()
    with run_log.Log(folder / "log.jsonl", args.log, done) as log:
        for record in with_progress(records, args, done):
            log.write(record)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    tokens = (args.updates - done) * args.batch * args.accumulation * args.length
    best = load_checkpoint(folder / "best.ckpt")
    lines = floors.of(shards, windows.cpu().numpy(), about["vocabulary"], about.get("entropy"))
    history = run_log.read(folder / "log.jsonl")
    found = {
        "parameters": count_parameters(config), "updates": args.updates, "tokens": tokens, "seconds": seconds,
        "tokens_per_second": tokens / seconds, "cpu_seconds": cpu, "epochs": tokens / about["tokens"],
        "dtype": str(trainer.dtype).removeprefix("torch.") if trainer.dtype else "float32",
        "first": history[0]["held_out"], "best": best["loss"], "best_step": best["step"],
        "perplexity": math.exp(best["loss"]), "last": [r["held_out"] for r in history if "held_out" in r][-1],
        "nats_per_character": best["loss"] / about["characters_per_token"], **lines,
    }  # fmt: skip
    report(found)
    run_log.plot(args, history, lines, f"training{suffix(args)}.png")
    return {"training": found}


def report(found: dict[str, Any]) -> None:
    what = f"{found['parameters']:,} parameters, {found['updates']:,} updates, {found['tokens'] / 1e6:.1f} M tokens"
    print(f"{what} in {found['seconds']:.0f} s: {found['tokens_per_second']:,.0f} tokens/s, {found['dtype']}\n")
    names = {
        "uniform": "nothing known: ln V", "unigram": "how common each token is", "bigram": "Kneser-Ney, 2 tokens",
        "ngram": f"Kneser-Ney, {floors.ORDER} tokens", "best": f"this model, after update {found['best_step']:,}",
        "entropy": "the generator's own entropy",
    }  # fmt: skip
    rows = [[text, found[name], f"{math.exp(found[name]):,.1f}"] for name, text in names.items() if name in found]
    print(run.table(["held out", "nats per token", "perplexity"], rows) + "\n")


# ---------------------------------------------------------------- sample


def load_best(folder: Path, device: str) -> tuple[MiniGPT, BPETokenizer]:
    """The model of best.ckpt, in eval mode, and its tokenizer."""
    if not (folder / "best.ckpt").exists():
        raise SystemExit("there is no model yet: python solution.py --prepare --train")
    gpt = MiniGPT(GPTConfig(**json.loads((folder / "model.json").read_text(encoding="utf-8"))))
    state = load_checkpoint(folder / "best.ckpt")["parts"]["model"]
    gpt.load_state_dict({name.removeprefix("gpt."): tensor for name, tensor in state.items()})
    return gpt.to(device).eval(), BPETokenizer.load(folder / "tokenizer")


def sample(args: Any, lab: SimpleNamespace, folder: Path) -> dict[str, Any]:
    gpt, tokenizer = load_best(folder, args.device)
    prompt = [tokenizer.eot_id, *tokenizer.encode_ordinary(args.prompt)]
    generator = torch.Generator(args.device).manual_seed(args.seed)
    found = {}
    for temperature in args.temperatures:
        rows = lab.write(gpt, prompt, 1, args.new_tokens, tokenizer.eot_id, temperature, generator)
        found[f"{temperature:g}"] = text = args.prompt + tokenizer.decode(rows[0])
        print(f"temperature {temperature:g}\n{text}\n")
    return {"samples": found}
