"""The only test code of lab 4.2 that runs beside a learner's file: layers with given weights, gradients, probes."""

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode


class Probe(TorchDispatchMode):
    """Sees every torch operation inside its `with` block.

    operations: how many     products: multiplications of matrix products, one number for each product
    largest: elements of the largest tensor that was made (a view makes none)
    """

    def __init__(self):
        super().__init__()
        self.operations, self.products, self.largest = 0, [], 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.operations += 1
        if function.overloadpacket.__name__ in ("mm", "bmm", "addmm", "baddbmm"):
            self.products.append(result.numel() * args[-2].size(-1))  # every result element sums that many
        given = {x.untyped_storage()._cdata for x in args if isinstance(x, torch.Tensor)}
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in given:
                self.largest = max(self.largest, tensor.untyped_storage().nbytes() // tensor.element_size())
        return result


# ---------------------------------------------------------------- plain functions


def cache_bytes(lab, sizes, *arguments):
    """sizes: n_layers, n_heads, n_kv_heads, head_size."""
    return lab.kv_cache_bytes(lab.CacheShape(*sizes), *arguments)


def merge_strided(lab, x):
    """merge_heads of a tensor whose last two axes are swapped in memory, and of what split_heads returns."""
    batch, heads, tokens, size = x.shape
    split = lab.split_heads(x.reshape(batch, tokens, heads * size), heads)
    return lab.merge_heads(x.mT.contiguous().mT), lab.merge_heads(split)


def with_gradients(lab, name, q, k, v, mask, d_out):
    """Output and the three gradients of attend_grouped or attend_fused (whose mask is a key mask, and causal)."""
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    if name == "grouped":
        out = lab.attend_grouped(*leaves, mask)[0]
    else:
        out = lab.attend_fused(*leaves, mask, True)
    dq, dk, dv = torch.autograd.grad(out, leaves, d_out)
    return {"out": out.detach(), "dq": dq, "dk": dk, "dv": dv}


def probe(lab, name, *inputs):
    """Operations and the largest tensor of one call."""
    with torch.no_grad(), Probe() as seen:
        getattr(lab, name)(*inputs)
    return seen.operations, seen.largest


# ---------------------------------------------------------------- layers


def build(lab, state, n_heads, n_kv_heads):
    """A layer with these weights: "qkv_proj.weight", "o_proj.weight", and the biases or not."""
    like = state["o_proj.weight"]
    layer = lab.MultiHeadAttention(like.size(0), n_heads, n_kv_heads, "o_proj.bias" in state).to(like)
    layer.load_state_dict(state)
    return layer


def projected(lab, state, n_heads, n_kv_heads, x, context):
    with torch.no_grad():
        return tuple(build(lab, state, n_heads, n_kv_heads).project(x, context))


def projection_cost(lab, state, n_heads, n_kv_heads, x, context):
    """The multiplications of every matrix product of one `project`."""
    layer = build(lab, state, n_heads, n_kv_heads)
    with torch.no_grad(), Probe() as seen:
        layer.project(x, context)
    return seen.products


def projection_gradients(lab, state, n_heads, n_kv_heads, x, context, d_q, d_k, d_v):
    """Gradients of the weights through q, k and v."""
    layer = build(lab, state, n_heads, n_kv_heads)
    out = layer.project(x, context)
    torch.autograd.backward(out, (d_q, d_k, d_v))
    return {name: value.grad for name, value in layer.qkv_proj.named_parameters()}


def copied_layer(lab, torch_state, n_heads, x, context, key_mask):
    """What the lab makes of torch's layer: causal self-attention, cross-attention with padding, its weights."""
    theirs = nn.MultiheadAttention(x.size(-1), n_heads, batch_first=True, device=x.device, dtype=x.dtype)
    theirs.load_state_dict(torch_state)
    ours = lab.from_torch(theirs)
    with torch.no_grad():
        return {
            "causal self-attention": ours(x, causal=True),
            "padded self-attention": ours(context, key_mask=key_mask),
            "padded cross-attention": ours(x, context, key_mask),
            "weights of the heads": ours.weights(x, context, key_mask[:, None, None, :]),
        }


def three_ways(lab, state, n_heads, n_kv_heads, x, context, key_mask):
    """The layer, the loop with the same weights, and both after pooling to one key-value head; bytes of both caches."""
    layer = build(lab, state, n_heads, n_kv_heads)
    mask = key_mask[:, None, None, :]
    found = {}
    with torch.no_grad():
        for name, some in (("shared", layer), ("pooled", lab.with_kv_heads(layer, 1))):
            found[name] = some(x, context, key_mask), lab.heads_one_by_one(x, context, *some.per_head(), mask)
            found[f"{name} cache"] = lab.kv_cache_bytes(lab.CacheShape(1, n_heads, some.n_kv_heads, some.head_size), 9)
    return found
