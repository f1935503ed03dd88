"""The worked numbers of phase 4's guide, recomputed."""

from __future__ import annotations

import math
from pathlib import Path

GUIDE = Path(__file__).resolve().parents[2] / "phase-04-transformers" / "HITCHHIKERS-GUIDE.md"


def says(*sentences: str) -> None:
    text = " ".join(GUIDE.read_text(encoding="utf-8").split())
    missing = [sentence for sentence in sentences if sentence not in text]
    assert not missing, f"the guide does not say: {missing}"


def test_scores():
    says(f"gives the smaller one {100 / (1 + math.exp(8)):.3f} % of the weight")
    says(f"At T = 8,192 with 32 heads that is {8192**2 * 32 * 2 / 2**30:.1f} GiB in BF16")


def test_kept_keys_and_values():
    def per_token(heads):
        return 2 * 80 * heads * 128 * 2 / 1024

    says(f"one token keeps {per_token(8):.0f} KiB; with 64 heads it would keep {per_token(64):,.0f} KiB")


def test_parameters_and_operations():
    layers = 12 * 12 * 768**2
    says(f"{layers / 1e6:.1f} million in the layers and {50257 * 768 / 1e6:.1f} million in the token embedding")
    attention = 12 * 12 * 1024 * 768
    says(f"{6 * layers / 1e6:.0f} million from the layers' matrices, {attention / 1e6:.0f} million from attention")
    says(f"close to $\\ln V$: {math.log(50257):.3f} for V = 50,257")
