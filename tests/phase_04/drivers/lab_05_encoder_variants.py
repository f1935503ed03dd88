"""The only test code of lab 4.5 that runs beside a learner's file: models with known weights, and what moves what."""

import torch

from labkit.grading.driving import filled


def bert_of(lab, sizes, seed, device, dtype=torch.float64):
    return filled(lab.MiniBERT(lab.bert_config(**sizes)), seed, torch.empty(0, dtype=dtype, device=device))


def features(lab, sizes, seed, tokens, real=None, segments=None):
    """What stands at padding means nothing and is set to 0."""
    with torch.no_grad():
        out = bert_of(lab, sizes, seed, tokens.device).features(tokens, real, segments)
    return out if real is None else out * real[..., None]


def features_in_float32(lab, sizes, seed, tokens, real):
    with torch.no_grad():
        model = bert_of(lab, sizes, seed, tokens.device, torch.float32)
        return model.features(tokens, real) * real[..., None]


def feature_influence(lab, sizes, seed, tokens):
    """(T, T): how far the feature at t moves when the token at s is replaced."""
    model, moved = bert_of(lab, sizes, seed, tokens.device), torch.zeros(tokens.size(1), tokens.size(1))
    with torch.no_grad():
        before = model.features(tokens)
        for s in range(tokens.size(1)):
            changed = tokens.clone()
            changed[:, s] = (changed[:, s] + 1) % sizes["vocab_size"]
            moved[:, s] = (model.features(changed) - before).abs().amax((0, 2)).cpu()
    return moved


def dropped_features(lab, sizes, seed, tokens):
    """What reaches the first block in training mode, and in eval mode; and how far, in training, what comes out of a
    block is from what goes into the next one, or out of `features`."""
    model, seen = bert_of(lab, sizes, seed, tokens.device), []
    for block in model.blocks:
        block.register_forward_pre_hook(
            lambda module, args, names: seen.append([*args, *names.values()][0]), with_kwargs=True
        )
        block.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        torch.manual_seed(seed)
        out = model.train().features(tokens)
        train, steps = seen[0], [*seen[1:], out]
        carried = max((a - b).abs().max().item() for a, b in zip(steps[::2], steps[1::2]))
        seen.clear()
        model.eval().features(tokens)
    return train, seen[0], carried


def masked_lm(lab, sizes, seed, tokens, labels=None, real=None, segments=None):
    with torch.no_grad():
        logits, loss = bert_of(lab, sizes, seed, tokens.device)(tokens, labels, real, segments)
    return (logits if real is None else logits * real[..., None]), loss


def masked_lm_gradient(lab, sizes, seed, tokens, labels):
    """Of the loss, by the weights of the head and of the embedding that it shares."""
    model = bert_of(lab, sizes, seed, tokens.device)
    model(tokens, labels)[1].backward()
    names = ("embedding.weight", "head_dense.weight", "head_norm.weight", "head_bias")
    gradients = {name: p.grad for name, p in model.named_parameters()}
    return [gradients[name] for name in names]


def cross_of(lab, sizes, seed, like):
    return filled(lab.CrossBlock(lab.GPTConfig(**sizes)), seed, like)


def cross_block(lab, sizes, seed, x, memory, mask=None):
    with torch.no_grad():
        return cross_of(lab, sizes, seed, x)(x, memory, mask)


def cross_influence(lab, sizes, seed, x, memory):
    """How far output t moves when x at s is replaced (T, T), and when the memory at s is (T, S)."""
    block = cross_of(lab, sizes, seed, x)
    by_x, by_memory = torch.zeros(x.size(1), x.size(1)), torch.zeros(x.size(1), memory.size(1))
    with torch.no_grad():
        before = block(x, memory)
        for moved, which in ((by_x, 0), (by_memory, 1)):
            for s in range(moved.size(1)):
                inputs = [x.clone(), memory.clone()]
                inputs[which][:, s] = 1 - inputs[which][:, s]
                moved[:, s] = (block(*inputs) - before).abs().amax((0, 2)).cpu()
    return by_x, by_memory


def cross_dropout(lab, sizes, seed, x, memory):
    """Which values come out, in training and in eval mode, when x is 0 and the three branches say 1, 10 and 100."""
    block = cross_of(lab, sizes, seed, x)
    with torch.no_grad():
        for size, branch in ((1.0, block.attention.o_proj), (10.0, block.cross_attention.o_proj)):
            branch.weight.zero_()
            branch.bias.fill_(size)
        block.mlp.down_proj.weight.zero_()
        block.mlp.down_proj.bias.fill_(100.0)
        torch.manual_seed(seed)
        return [sorted(set(out.flatten().tolist())) for out in (block.train()(x, memory), block.eval()(x, memory))]


def t5_of(lab, sizes, seed, device):
    return filled(lab.MiniT5(lab.GPTConfig(**sizes)), seed, torch.empty(0, dtype=torch.float64, device=device))


def encoder_decoder(lab, sizes, seed, source, targets, real=None):
    with torch.no_grad():
        return t5_of(lab, sizes, seed, source.device)(source, targets, real)


def everything(lab, sizes, seed, ids, hidden, choose, change, strangers, real):
    """Both objectives on both models: losses, and the inputs they were computed from."""
    special = ~real
    inputs, labels = lab.mask_tokens(ids, special, choose, change, strangers)
    bert = masked_lm(lab, sizes, seed, inputs, labels, real)[1]
    pairs = [lab.corrupt_spans(row, hide, sizes["vocab_size"] - 1) for row, hide in zip(ids, hidden)]
    source, targets = (
        torch.nn.utils.rnn.pad_sequence(side, batch_first=True, padding_value=fill)
        for side, fill in zip(zip(*pairs), (lab.PAD, lab.IGNORE))
    )
    t5 = encoder_decoder(lab, sizes, seed, source, targets, source != lab.PAD)[1]
    return inputs, labels, bert, source, targets, t5
