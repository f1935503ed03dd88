"""The only test code of lab 4.3 that runs beside a learner's file: projections, and all schemes in one layer."""

import torch


def project(x, weight, n_heads):
    """x (B, T, D), weight (H·K, D) -> (B, H, T, K)"""
    return (x @ weight.mT).unflatten(-1, (n_heads, -1)).transpose(1, 2)


def scores(lab, x, wq, wk, n_heads, cos, sin, layout, convert):
    """q·k after RoPE; with `convert` the weights first go through the lab's convert_layout."""
    if convert is not None:
        wq, wk = lab.convert_layout(wq, n_heads, convert), lab.convert_layout(wk, n_heads, convert)
    q, k = (lab.apply_rope(project(x, w, n_heads), cos, sin, layout) for w in (wq, wk))
    return q @ k.mT


def attention_in_both_layouts(lab, x, weights, n_heads, scaling, start):
    """The same layer as it is, interleaved, and converted to the half layout, with scaled frequencies."""
    wq, wk, wv = weights
    head_dim = wq.size(0) // n_heads
    inv_freq, factor = lab.rope_frequencies(head_dim, scaling=scaling, device=x.device)
    v = project(x, wv, n_heads)
    found = {}
    for layout in ("interleaved", "half"):
        if layout == "half":
            wq, wk = lab.convert_layout(wq, n_heads, "half"), lab.convert_layout(wk, n_heads, "half")
        q, k = project(x, wq, n_heads), project(x, wk, n_heads)
        found[layout] = lab.rope_attention(q, k, v, inv_freq, factor, layout, start)
    return found


def every_scheme(lab, x, table):
    """Self-attention of x (B, H, T, K) under each scheme -> what each adds to the scores, or the scores themselves."""
    heads, length, size = x.shape[1:]
    added = x + lab.sinusoidal(length, size, device=x.device)
    found = {"sinusoidal": added @ added.mT}
    for method in ("linear", "ntk"):
        inv_freq = lab.inverse_frequencies(size, factor=4.0, method=method, device=x.device)
        turned = lab.apply_rope(x, *lab.rope_angles(torch.arange(length, device=x.device), inv_freq))
        found[method] = turned @ turned.mT
    found["alibi"] = x @ x.mT + lab.alibi_bias(heads, length, length, device=x.device)
    for bidirectional in (True, False):
        found[f"t5_{bidirectional}"] = x @ x.mT + lab.t5_bias(table, length, length, bidirectional)
    return found
