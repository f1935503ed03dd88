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
    formats = {"FP32": torch.float32, "BF16": torch.bfloat16, "FP16": torch.float16}
    formats |= {"FP8 E4M3": torch.float8_e4m3fn, "FP8 E5M2": torch.float8_e5m2}
    for name, dtype in formats.items():
        info = torch.finfo(dtype)
        mantissa = round(-math.log2(info.eps))
        numbers = f"{info.bits - 1 - mantissa} | {mantissa} | {info.max:.2e} | {info.smallest_normal:.2e}"
        assert f"| {name} | {numbers} | 1 + {info.eps:.2e} |" in rows
    assert torch.tensor(2.9e-8).half() == 0 < torch.tensor(6e-8).half()
    one = torch.tensor(1.0, dtype=torch.bfloat16)
    assert one + torch.tensor(0.003, dtype=torch.bfloat16) == one


def test_fp8_needs_a_scale_and_e4m3_has_no_infinity():
    info = torch.finfo(torch.float8_e4m3fn)
    assert info.smallest_normal > 0.01
    assert torch.finfo(torch.float8_e5m2).smallest_normal == torch.finfo(torch.float16).smallest_normal
    says("largest entry is 0.01 lies wholly below the smallest normal number of E4M3")
    says(f"and times {info.max / 0.01:,.0f} it reaches up to {info.max:.0f}")
    patterns = torch.arange(256, dtype=torch.int16).to(torch.uint8)  # every value there is
    assert not patterns.view(torch.float8_e4m3fn).float().isinf().any()
    assert patterns.view(torch.float8_e5m2).float().isinf().any()


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


def test_mixing():
    says(f"5 billion tokens with a weight of 10 % in a run of 300 billion is read {0.1 * 300 / 5:.0f} times")


def test_batch_and_rate():
    """Adam's step towards the optimum is signal / sqrt(signal**2 + noise**2 / batch)."""

    def step(batch, signal=1.0, noise=1e4):
        return signal / math.sqrt(signal**2 + noise**2 / batch)

    k = 4
    larger = step(8 * k) / step(8)  # what a batch k times as large gives by itself
    assert math.isclose(larger, math.sqrt(k), rel_tol=1e-4)
    says(f"| Adam | $\\sqrt{{k}}\\,\\eta$ (Malladi et al. 2022) | {k / larger:.0f} times |")
    says(f"| SGD | $k\\,\\eta$ (Goyal et al. 2017) | {k} times |")


def test_critical_batch():
    def costs(ratio):  # of a batch of ratio * B_c: steps and tokens, as multiples of the fewest
        steps, tokens = 1 + 1 / ratio, 1 + ratio
        assert math.isclose((steps - 1) * (tokens - 1), 1)  # McCandlish et al. 2018, equation 2.11
        assert math.isclose(tokens, ratio * steps)  # tokens = batch * steps, with B_c = E / S
        return steps, tokens

    (few, many), both, (fewer, more) = costs(1 / 4), costs(1), costs(4)
    assert both == (2, 2)
    says(f"At a quarter of $B_c$ that is {few:.0f} times the fewest steps and {many} times the fewest tokens")
    says(f"at $B_c$ twice both, at 4 times $B_c$ {fewer} times the steps and {more:.0f} times the tokens")


def test_undertrained():
    a, alpha, b, beta = 482.01, 0.3478, 2085.43, 0.3658  # Besiroglu et al. 2024
    says(f"(A = {a}, $\\alpha$ = {alpha}, B = {b}, $\\beta$ = {beta})")

    def terms(n, d):
        return a / n**alpha, b / d**beta

    n, d = 175e9, 300e9
    first, second = terms(n, d)
    says(f"has {alpha * first:.3f} on the left and {beta * second:.3f} on the right: undertrained")
    better = math.sqrt(n * d / 20)
    says(f"is {better / 1e9:.0f} billion parameters on {20 * better / 1e9:,.0f} billion tokens")
    gain = first + second - sum(terms(better, 20 * better))
    says(f"that is only {gain:.3f} nats better, but with {n / better:.1f} times fewer parameters")
    # The condition for the best split holds at the lowest loss along constant n * d.
    splits = [terms(better * math.exp(i / 1000), 20 * better / math.exp(i / 1000)) for i in range(-2000, 2000)]
    left, right = min(splits, key=sum)
    assert math.isclose(alpha * left, beta * right, rel_tol=2e-3)


def test_cost():
    def number(x):
        return f"{x:.2e}".replace("e+", "e")

    peak, use, price = 989e12, 0.4, 2
    n, d = 1e9, 20e9
    says(f"{peak / 1e12:.0f}e12 for BF16 on an H100 SXM")
    hours = 6 * n * d / (3600 * peak * use)
    says(
        f"20 billion tokens: {number(6 * n * d)} operations",
        f"u = 0.40 an H100 does {peak * use / 1e12:.0f}e12 a second",
    )
    says(f"a second: {hours:.1f} hours, {hours / 8:.1f} on eight")
    cents = 100 * hours * price / (d / 1e6)
    says(f"that is {hours * price:.0f} dollars, or {cents:.2f} cents per million tokens")
    says(f"should show {peak * use / (6 * n):,.0f} tokens a second on each device")
    bought = 50_000 / price
    operations = bought * 3600 * peak * use
    says(f"buy {bought:,.0f} hours and {number(operations)} operations")
    n = math.sqrt(operations / 120)
    says(f"{n / 1e9:.1f} billion parameters on {20 * n / 1e9:.0f} billion tokens. Do not")
    operations = 6 * 37e9 * 14.8e12
    rate = operations / (2.664e6 * 3600)
    says(f"gives {number(operations)} operations, so {rate / 1e12:.0f}e12 a second on each GPU")
    says(f"it is {2.664 * price:.1f} million dollars")


def test_compile():
    says(f"takes 60 seconds and brings a step from 0.28 to 0.20: it pays after {60 / (0.28 - 0.20):.0f} steps")
    linear = torch.nn.Linear(2, 2)
    assert list(torch.compile(linear).state_dict()) == ["_orig_mod.weight", "_orig_mod.bias"]
    linear.compile()
    assert list(linear.state_dict()) == ["weight", "bias"]


def test_checkpoint_questions():
    section = GUIDE.read_text(encoding="utf-8").split("## 12. Eight questions")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("|")]
    assert [row[0] for row in rows[2:]] == [str(i) for i in range(1, 9)]
    assert all(len(row) == 4 and "](" in row[3] for row in rows[2:])
    says(f"8 layers of width 512 are {12 * 8 * 512**2 / 1e6:.0f} million in the layers")
    says(f"not 10; 6 of width 384 are {12 * 6 * 384**2 / 1e6:.1f}")
    q, k = torch.randn(2, 20_000, 64, generator=torch.Generator().manual_seed(0))
    assert math.isclose((q * k).sum(-1).var(), 64, rel_tol=0.05)  # scores of variance K
