"""The worked numbers of phase 5's guide, recomputed; formats, schedules and samplers from torch and others."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path

import torch
from transformers import (
    MinPLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    get_cosine_with_min_lr_schedule_with_warmup,
)

GUIDE = Path(__file__).resolve().parents[2] / "phase-05-training" / "HITCHHIKERS-GUIDE.md"
PROBABILITIES = torch.tensor([[0.5, 0.2, 0.15, 0.1, 0.05]])


def says(*sentences: str) -> None:
    text = " ".join(GUIDE.read_text(encoding="utf-8").split())
    missing = [sentence for sentence in sentences if sentence not in text]
    assert not missing, f"the guide does not say: {missing}"


def test_merges():
    words = {("t", "i", "n", "y"): 3, ("t", "i", "n"): 2, ("p", "i", "n"): 4}
    for _ in range(4):
        pairs = Counter()
        for word, count in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += count
        (pair, count), *_ = pairs.most_common(1)
        merged = {}
        for word, times in words.items():
            letters = list(word)
            for i in range(len(letters) - 2, -1, -1):
                if tuple(letters[i : i + 2]) == pair:
                    letters[i : i + 2] = ["".join(pair)]
            merged[tuple(letters)] = times
        words = merged
        after = ", ".join("`" + " ".join(word) + "`" for word in words)
        says(f"| `{pair[0]}` + `{pair[1]}` | {count} | {after} |")


def test_losses():
    says(f"$\\ln V$: {math.log(4096):.3f} for V = 4,096, {math.log(50257):.3f} for V = 50,257")
    says(f"loss of {math.log(8):.3f} is perplexity 8.0; 2.3 is {math.exp(2.3):.1f}, 2.5 is {math.exp(2.5):.1f}")
    says(f"{471_650_941:,} of them, is then {2 * 471_650_941 / 1e9:.2f} GB")


def test_schedule():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([parameter], lr=6e-4)
    schedule = get_cosine_with_min_lr_schedule_with_warmup(optimizer, 200, 2000, min_lr=6e-5)
    rates = [schedule.get_last_lr()[0]]
    for _ in range(2000):
        optimizer.step()
        schedule.step()
        rates.append(schedule.get_last_lr()[0])

    def rate(step):
        return f"{rates[step]:.2e}".replace("e-0", "e-")

    says(f"the rate is {rate(100)} at step 100, {rate(500)} at 500, {rate(1000)} at 1,000 and {rate(2000)} at 2,000")


def test_first_step_is_the_sign():
    parameter = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimizer = torch.optim.AdamW([parameter], lr=0.1, weight_decay=0)
    parameter.grad = torch.tensor([1e-3, -5.0, 200.0], dtype=torch.float64)
    optimizer.step()
    assert torch.allclose(parameter.detach(), torch.tensor([-0.1, 0.1, -0.1], dtype=torch.float64), rtol=1e-4)
    says(f"{1 / (1 - 0.95):.0f} for 0.95 and {1 / (1 - 0.999):,.0f} for 0.999")


def test_memory_and_batches():
    says(f"{2 + 2 + 4 + 8} bytes, so {16 * 7} GB for 7 billion parameters")
    mean = (512 * 2.0 + 128 * 4.0) / (512 + 128)
    says(f"the mean of the means says {(2.0 + 4.0) / 2}, the mean over the tokens is {mean}")


def test_number_formats():
    rows = GUIDE.read_text(encoding="utf-8").splitlines()
    for name, dtype in (("FP32", torch.float32), ("BF16", torch.bfloat16), ("FP16", torch.float16)):
        info = torch.finfo(dtype)
        mantissa = round(-math.log2(info.eps))
        numbers = f"{info.bits - 1 - mantissa} | {mantissa} | {info.max:.2e} | {info.smallest_normal:.2e}"
        assert f"| {name} | {numbers} | 1 + {info.eps:.2e} |" in rows
    assert torch.tensor(2.9e-8).half() == 0 < torch.tensor(6e-8).half()
    one = torch.tensor(1.0, dtype=torch.bfloat16)
    assert one + torch.tensor(0.003, dtype=torch.bfloat16) == one


def test_scaling():
    n, d = 3e6, 60e6
    assert d == 20 * n
    says(f"{6 * n * d:.2e}".replace("e+", "e") + f" operations, {6 * n * d / 5e10 / 3600:.1f} hours on one core")
    n = 124_439_808
    says(f"{20 * n / 1e9:.1f} billion tokens and {6 * 20 * n * n:.2e} operations".replace("e+", "e"))
    says(f"{6 * 20 * n * n / 5e10 / 86400:.0f} days on that core")
    says(f"15 trillion tokens, {15e12 / 8_030_261_248:,.0f} per parameter")


def test_sampling():
    logits = PROBABILITIES.log()

    def kept(filtered):
        return ", ".join(f"{p:.3f}" for p in filtered.softmax(-1)[0].tolist() if p > 0)

    says(f"| temperature 2 | all | {kept(logits / 2)} |")
    says(f"| top-k, k = 2 | 2 | {kept(TopKLogitsWarper(2)(None, logits))} |")
    says(f"| top-p, p = 0.8 | the fewest that reach p: 3 | {kept(TopPLogitsWarper(0.8)(None, logits))} |")
    says(f"at least 0.15 times the best: 4 | {kept(MinPLogitsWarper(0.15)(None, logits))} |")
    assert math.isclose(1000 * 0.00002, 1 / 50)
