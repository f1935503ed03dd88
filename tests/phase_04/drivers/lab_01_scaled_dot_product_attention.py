"""The only test code of lab 4.1 that runs beside a learner's file: gradients, and probes of memory and of work."""

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode


class Probe(TorchDispatchMode):
    """Sees every torch operation inside its `with` block, and the memory behind every tensor those operations make.

    operations: how many     products: multiplications in matrix products     largest: elements of the largest tensor
    peak: bytes alive at the same time at the worst moment (inputs not counted; a view costs nothing)
    """

    def __init__(self):
        super().__init__()
        self.operations = self.products = self.largest = self.peak = 0
        self.alive = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.operations += 1
        if function.overloadpacket.__name__ in ("mm", "bmm", "addmm", "baddbmm"):
            self.products += result.numel() * args[-2].size(-1)  # every result element sums that many
        given = {x.untyped_storage()._cdata for x in args if isinstance(x, torch.Tensor)}
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in given:
                self.note(tensor)
        self.alive = {key: entry for key, entry in self.alive.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return result

    def note(self, tensor):
        storage = tensor.untyped_storage()
        self.alive.setdefault(storage._cdata, (StorageWeakRef(storage), storage.nbytes()))
        self.largest = max(self.largest, storage.nbytes() // tensor.element_size())


def attend(lab, name, q, k, v, mask):
    """The output of any of the forms."""
    if name == "einsum":
        return lab.attend_einsum(q, k, v, mask)[0]
    if name == "tiled":
        return lab.attend_tiled(q, k, v, mask, tile=3)
    return getattr(lab, f"attend_{name}")(q, k, v, mask)


def with_gradients(lab, name, q, k, v, mask, d_out):
    """Output and gradients of one form."""
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    out = attend(lab, name, *leaves, mask)
    dq, dk, dv = torch.autograd.grad(out, leaves, d_out)
    return {"out": out.detach(), "dq": dq, "dk": dk, "dv": dv}


def all_forms(lab, q, k, v, mask, d_out):
    return {name: with_gradients(lab, name, q, k, v, mask, d_out) for name in ("loop", "bmm", "einsum", "tiled")}


def softmax_gradient(lab, scores, mask, d_weights):
    """∂(weights · d_weights)/∂scores."""
    scores = scores.clone().requires_grad_()
    return torch.autograd.grad(lab.masked_softmax(scores, mask), scores, d_weights)[0]


def operations(lab, name, q, k, v, mask):
    """How many torch operations one call takes."""
    with torch.no_grad(), Probe() as probe:
        attend(lab, name, q, k, v, mask)
    return probe.operations


def forward_cost(lab, q, k, v, mask, causal, tile):
    """Largest tensor and peak of one tiled_forward, in elements of q's dtype, and its multiplications."""
    with torch.no_grad(), Probe() as probe:
        lab.tiled_forward(q, k, v, mask, causal, tile)
    return probe.largest, probe.peak // q.element_size(), probe.products


def backward_cost(lab, q, k, v, mask, causal, tile, out, lse, d_out):
    """The same of one tiled_backward."""
    with torch.no_grad(), Probe() as probe:
        lab.tiled_backward(q, k, v, mask, causal, tile, out, lse, d_out)
    return probe.largest, probe.peak // q.element_size(), probe.products


def kept_for_backward(lab, name, q, k, v):
    """Elements that autograd keeps between a causal forward pass and its backward pass, each memory block once."""
    blocks = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        blocks[storage._cdata] = (storage, storage.nbytes() // tensor.element_size())
        return tensor

    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        if name == "tiled":
            out = lab.attend_tiled(*leaves, causal=True, tile=8)
        else:
            out = attend(lab, name, *leaves, lab.causal_mask(q.size(2), k.size(2), device=q.device))
    torch.autograd.grad(out, leaves, torch.ones_like(out))
    return sum(size for _, size in blocks.values())


def decoder_attention(lab, q, k, v, lengths):
    """The last T of S positions of sequences padded on the left, through the lab's own masks; bmm and tiled."""
    padding = lab.padding_mask(lengths, k.size(2), left=True)
    causal = lab.causal_mask(q.size(2), k.size(2), device=q.device)
    whole = lab.attend_bmm(q, k, v, lab.combine_masks(padding, causal))
    return whole, lab.attend_tiled(q, k, v, padding, causal=True, tile=3)
