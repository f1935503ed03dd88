"""Tokens per second of this lab's training loop against the Trainer of transformers, same weights, batch and precision.

python bench.py                          both take turns, two minutes or so
python bench.py --device cuda            the same on a GPU
"""

from __future__ import annotations

import statistics
import tempfile
import time
from typing import Any

import numpy as np
import solution
import torch
from transformers import PrinterCallback, TrainerCallback, TrainingArguments
from transformers import Trainer as TheirTrainer
from transformers.utils import logging

from labkit import run
from labkit.reference.mini_transformer import GPTConfig, MiniGPT, hf_weights
from labkit.reference.training_loop import Trainer

PRESETS = {
    "smoke": {
        "d_model": 32, "layers": 2, "vocab": 256, "length": 32, "batch": 4, "updates": 3, "rounds": 1, "threads": 1,
    },
    "cpu": {
        "d_model": 128, "layers": 4, "vocab": 2048, "length": 256, "batch": 16, "updates": 8, "rounds": 3, "threads": 1,
    },
}  # fmt: skip
SKIPPED = 2  # the first updates of a run: caches are cold


class Clock(TrainerCallback):
    """Notes the time after every update."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.ends.append(time.perf_counter())


def median_step(ends: list[float]) -> float:
    """Seconds per update, without the first ones."""
    return statistics.median(np.diff(ends)[SKIPPED - 1 :])


def new_model(args: Any) -> MiniGPT:
    torch.manual_seed(0)
    config = GPTConfig.llama(
        vocab_size=args.vocab, block_size=args.length, n_layers=args.layers, n_heads=args.d_model // 32,
        d_model=args.d_model, tie_weights=True,
    )  # fmt: skip
    return MiniGPT(config)


def ours(args: Any, shard: np.ndarray) -> float:
    """Random crops, gradient clipping, AdamW, as `python solution.py --train` does it, in float32."""
    model = solution.Logits(new_model(args)).to(args.device)
    batches = solution.RandomCrops([shard], args.batch, args.length, device=args.device)
    optimizer = torch.optim.AdamW(solution.optimizer_groups(model, 0.1), betas=(0.9, 0.95), fused=True)
    trainer, ends = Trainer(model, optimizer, batches, lambda step: 1e-3), []
    for _ in trainer.train(args.updates + SKIPPED):
        if args.device == "cuda":
            torch.cuda.synchronize()
        ends.append(time.perf_counter())
    return median_step(ends)


def theirs(args: Any, shard: np.ndarray) -> float:
    """The same model as a LlamaForCausalLM; the text cut into windows, which its data loader shuffles and stacks."""
    windows = torch.from_numpy(shard.astype(np.int64)).unfold(0, args.length + 1, args.length + 1)
    data = [{"input_ids": row[:-1], "shift_labels": row[1:], "labels": row[:-1]} for row in windows]
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        how = TrainingArguments(
            output_dir=folder, max_steps=args.updates + SKIPPED, per_device_train_batch_size=args.batch,
            optim="adamw_torch_fused", learning_rate=1e-3, weight_decay=0.1, adam_beta2=0.95, max_grad_norm=1.0,
            use_cpu=args.device == "cpu", bf16=False, report_to=[], save_strategy="no", logging_strategy="no",
            disable_tqdm=True, dataloader_pin_memory=False,
        )  # fmt: skip
        model = hf_weights.to_transformers(new_model(args))
        trainer = TheirTrainer(model, how, train_dataset=data, callbacks=[clock])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return median_step(clock.ends)


def main(argv: list[str] | None = None) -> None:
    args = run.arguments(__doc__, PRESETS, argv, device=True)
    torch.set_num_threads(args.threads)
    logging.set_verbosity_error()
    windows = args.batch * (args.updates + SKIPPED)
    shard = np.random.default_rng(args.seed).integers(args.vocab, size=windows * (args.length + 1)).astype(np.uint16)
    pairs = [(ours(args, shard), theirs(args, shard)) for _ in run.progress(range(args.rounds), "rounds")]
    tokens = args.batch * args.length
    speed = [tokens / statistics.median(seconds) for seconds in zip(*pairs)]
    ratio = statistics.median(second / first for first, second in pairs)
    title = f"{args.layers} layers, width {args.d_model}, batch {args.batch} x {args.length} tokens"
    print(f"Training, {title}, float32, {args.device}, {args.threads} thread(s)\n")
    print(run.table(["loop", "tokens/s"], [["this lab", round(speed[0])], ["transformers.Trainer", round(speed[1])]]))
    print(f"\nours / theirs, median of {args.rounds} paired rounds: {ratio:.2f}")
    found = {"tokens_per_second": {"ours": speed[0], "theirs": speed[1]}, "ratio": ratio}
    found["ratios"] = [second / first for first, second in pairs]
    run.save_results(args, found, "bench")


if __name__ == "__main__":
    run.main(main)
