"""What the drivers of several labs share. It runs beside the learner's code and is trusted no more than that."""

from __future__ import annotations

import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any


def quietly(lab: Any, name: str, *inputs: Any) -> Any:
    """Calls a function of the lab with every warning made an error: 0/0 must be avoided, not silenced later."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return getattr(lab, name)(*inputs)


def peak_bytes(lab: Any, name: str, *inputs: Any) -> int:
    """The most memory a call of a function of the lab holds at once beyond what was there before."""
    return peak_of(lambda: getattr(lab, name)(*inputs))[1]


def peak_of(call: Callable[[], Any]) -> tuple[Any, int]:
    """What a call gives, and its peak in bytes: Python's objects and NumPy's arrays, not torch's tensors."""
    call()  # a first call may import, fill caches, and compiling a module takes megabytes
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        value = call()
        return value, tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def filled(module: Any, seed: int, like: Any) -> Any:
    """The module with weights drawn from a seed, in eval mode: matrices that mix, norm weights near 1.

    like: a tensor that says dtype and device
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    module = module.to(dtype=like.dtype, device=like.device)
    with torch.no_grad():
        for name, parameter in sorted(module.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if parameter.dim() == 1:
                noise = 0.3 * noise + ("norm" in name and name.endswith("weight"))
            elif "embedding" not in name:
                noise = 1.5 * noise / parameter.size(-1) ** 0.5
            parameter.copy_(noise)
    return module.eval()
