"""The only test code of lab 4.4 that runs beside a learner's file: it builds models with known weights, runs them."""

import torch

from labkit.grading.driving import filled


def model_of(lab, sizes, seed, device, dtype=torch.float64):
    return filled(lab.MiniGPT(lab.GPTConfig(**sizes)), seed, torch.empty(0, dtype=dtype, device=device))


# ---------------------------------------------------------------- parts


def rms_norm(lab, x, weight, eps):
    norm = lab.RMSNorm(x.size(-1), eps).to(x)
    norm.load_state_dict({"weight": weight})
    return norm(x).detach()


def rms_norm_gradient(lab, x, weight, d_out):
    norm = lab.RMSNorm(x.size(-1)).to(x)
    norm.load_state_dict({"weight": weight})
    x = x.clone().requires_grad_()
    return torch.autograd.grad(norm(x), [x, norm.weight], d_out)


def swiglu(lab, x, sizes, seed):
    with torch.no_grad():
        return filled(lab.SwiGLU(lab.GPTConfig(**sizes)), seed, x)(x)


def attention(lab, x, sizes, seed, **how):
    with torch.no_grad():
        return filled(lab.Attention(lab.GPTConfig(**sizes)), seed, x)(x, **how)


def rotated_attention(lab, x, sizes, seed, cos, sin):
    return attention(lab, x, sizes, seed, rotation=(cos, sin))


def masked_attention(lab, x, sizes, seed, mask):
    return attention(lab, x, sizes, seed, mask=mask)


def cross_attention(lab, x, sizes, seed, context, mask=None):
    return attention(lab, x, sizes, seed, context=context, mask=mask)


def attention_influence(lab, x, sizes, seed, rotation=None):
    """moved[t, s]: how far output t moves when input s is replaced; slope[t, s]: how steeply it depends on it."""
    layer = filled(lab.Attention(lab.GPTConfig(**sizes)), seed, x)
    return influence(lambda inputs: layer(inputs, rotation), x)


def influence(function, x):
    length = x.size(1)
    moved, slope = (torch.zeros(length, length) for _ in range(2))
    with torch.no_grad():
        before = function(x)
        for s in range(length):
            changed = x.clone()
            changed[:, s] = -changed[:, s] + 1
            moved[:, s] = (function(changed) - before).abs().amax((0, 2)).cpu()
    leaf = x.clone().requires_grad_()
    out = function(leaf)
    for t in range(length):
        gradient = torch.autograd.grad(out[:, t].sin().sum(), leaf, retain_graph=True)[0]
        slope[t] = gradient.abs().amax((0, 2)).cpu()
    return moved, slope


def attention_dropout(lab, x, sizes, seed):
    """In training, with one visible key and o_proj the identity: each head's output over what it is in eval mode."""
    layer = filled(lab.Attention(lab.GPTConfig(**sizes)), seed, x)
    with torch.no_grad():
        layer.o_proj.weight.copy_(torch.eye(x.size(-1)))
        quiet = layer(x)
        torch.manual_seed(seed)
        return quiet, (layer.train()(x) / quiet).unflatten(-1, (sizes["n_heads"], -1))


def block(lab, x, sizes, seed):
    with torch.no_grad():
        return filled(lab.Block(lab.GPTConfig(**sizes)), seed, x)(x)


def block_gradient(lab, x, sizes, seed, d_out):
    layer, x = filled(lab.Block(lab.GPTConfig(**sizes)), seed, x), x.clone().requires_grad_()
    (layer(x) * d_out).sum().backward()
    return {"x": x.grad} | {name: p.grad for name, p in layer.named_parameters()}


def block_with_rotation_and_mask(lab, x, sizes, seed, cos, sin, mask):
    with torch.no_grad():
        return filled(lab.Block(lab.GPTConfig(**sizes)), seed, x)(x, (cos, sin), mask)


def block_dropout(lab, x, sizes, seed):
    """Which values come out, in training and in eval mode, when both branches say 1 and the norms do nothing."""
    layer = filled(lab.Block(lab.GPTConfig(**sizes)), seed, x)
    layer.attention_norm, layer.mlp_norm = torch.nn.Identity(), torch.nn.Identity()
    with torch.no_grad():
        for writes in (layer.attention.o_proj, layer.mlp.down_proj):
            writes.weight.zero_()
            writes.bias.fill_(1.0)
        torch.manual_seed(seed)
        return [sorted(set(out.flatten().tolist())) for out in (layer.train()(x), layer.eval()(x))]


# ---------------------------------------------------------------- the model


def features(lab, tokens, sizes, seed, mask=None, positions=None):
    with torch.no_grad():
        return model_of(lab, sizes, seed, tokens.device).features(tokens, mask, positions)


def features_in_bfloat16(lab, tokens, sizes, seed):
    with torch.no_grad():
        return model_of(lab, sizes, seed, tokens.device, torch.bfloat16).features(tokens)


def logits_and_loss(lab, tokens, targets, sizes, seed):
    with torch.no_grad():
        return tuple(model_of(lab, sizes, seed, tokens.device)(tokens, targets))


def gradients(lab, tokens, targets, sizes, seed):
    model = model_of(lab, sizes, seed, tokens.device)
    model(tokens, targets)[1].backward()
    return {name: p.grad for name, p in model.named_parameters()}


def embedding_dropout(lab, tokens, sizes, seed):
    """What reaches the first block in training over what does in eval mode; and how far what comes out of a block is
    from what goes into the next one, or into the last norm, in training."""
    model = model_of(lab, sizes, seed, tokens.device)
    seen, came = [], []
    for step in (*model.blocks, model.final_norm):
        step.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        step.register_forward_hook(lambda module, inputs, output: came.append(output))
    torch.manual_seed(seed)
    with torch.no_grad():
        model.train()(tokens)
        first, carried = seen[0], max((a - b).abs().max().item() for a, b in zip(seen[1:], came))
        seen.clear()
        model.eval()(tokens)
    return first / seen[0], carried


def fresh(lab, sizes, seed):
    """A model as `MiniGPT(config)` makes it: spread of every matrix, extremes of every vector, who shares what."""
    torch.manual_seed(seed)
    model = lab.MiniGPT(lab.GPTConfig(**sizes))
    found = {
        name: (p.mean().item(), p.std().item()) if p.dim() == 2 else (p.min().item(), p.max().item())
        for name, p in model.named_parameters()
    }
    shared = model.head.weight is model.embedding.weight
    return found, shared, sum(p.numel() for p in model.parameters())


def tied_after_a_step(lab, tokens, sizes, seed):
    """Whether head and embedding still agree after a training step."""
    torch.manual_seed(seed)
    model = lab.MiniGPT(lab.GPTConfig(**sizes)).to(tokens.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(tokens, tokens)[1].backward()
    optimizer.step()
    return (model.head.weight - model.embedding.weight).abs().max().item()


def inputs_and_targets(lab, ids, lengths=None):
    return tuple(part.clone() for part in lab.shift(ids, lengths))


# ---------------------------------------------------------------- generation


def generate(lab, tokens, sizes, seed, n_new, temperature=1.0, top_k=None, training=False):
    """What comes out, and whether the model is in training mode afterwards."""
    model = model_of(lab, sizes, seed, tokens.device).train(training)
    torch.manual_seed(seed)
    made = model.generate(tokens, n_new, temperature=temperature, top_k=top_k)
    return {"tokens": made, "training afterwards": model.training}


def seeded_twice(lab, tokens, sizes, seed, n_new):
    model, made = model_of(lab, sizes, seed, tokens.device), []
    for _ in range(2):
        generator = torch.Generator(tokens.device).manual_seed(seed)
        made.append(model.generate(tokens, n_new, generator=generator))
    return made


def next_tokens(lab, prompt, sizes, seed, rows, temperature, top_k):
    """The token after a prompt, drawn `rows` times, and the logits it is drawn by."""
    model = model_of(lab, sizes, seed, prompt.device)
    torch.manual_seed(seed)
    made = model.generate(prompt.expand(rows, -1), 1, temperature=temperature, top_k=top_k)
    with torch.no_grad():
        return made[:, -1], model(prompt)[0][0, -1]


def groups(lab, sizes):
    return lab.parameter_groups(lab.GPTConfig(**sizes))


# ---------------------------------------------------------------- everything together


def counted_and_held(lab, sizes):
    """The numbers of parameters as the learner's formula counts them, and as the learner's model holds them."""
    config = lab.GPTConfig(**sizes)
    held = sum(p.numel() for p in lab.MiniGPT(config).parameters())
    return {"counted": lab.parameter_groups(config), "held by the model": held}


def first_loss(lab, ids, sizes, seed):
    torch.manual_seed(seed)
    model = lab.MiniGPT(lab.GPTConfig(**sizes)).to(ids.device)
    with torch.no_grad():
        return model(*lab.shift(ids))[1].item()


def logit_influence(lab, tokens, sizes, seed):
    """moved[t, s]: how far the logits at t move when token s becomes another one; slope[t, s]: their gradient with
    respect to the embedding of token s. tokens: (T,), all different and not 0, so that each has a row of its own."""
    model, length = model_of(lab, sizes, seed, tokens.device), len(tokens)
    moved, slope = (torch.zeros(length, length) for _ in range(2))
    logits = model(tokens[None])[0]
    for s in range(length):
        changed = tokens.clone()
        changed[s] = 0
        moved[:, s] = (model(changed[None])[0] - logits).abs().amax((0, 2)).detach().cpu()
    for t in range(length):
        gradient = torch.autograd.grad(logits[:, t].sin().sum(), model.embedding.weight, retain_graph=True)[0]
        slope[t] = gradient[tokens].abs().amax(1).cpu()
    return moved, slope


def overfit(lab, ids, sizes, seed, steps, goal):
    """The loss on one batch, step by step, until it is below the goal."""
    torch.manual_seed(seed)
    model = lab.MiniGPT(lab.GPTConfig(**sizes)).to(ids.device)
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0), [float("inf")]
    while losses[-1] >= goal and len(losses) <= steps:
        optimizer.zero_grad()
        loss = model(*lab.shift(ids))[1]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses[1:]


def count_and_write(lab, ids, lengths, sizes, seed):
    """The learner's own parts in a row: count, targets, loss, gradient, a greedy continuation."""
    model = model_of(lab, sizes, seed, ids.device)
    inputs, targets = lab.shift(ids, lengths)
    loss = model(inputs, targets)[1]
    loss.backward()
    norm = sum(p.grad.square().sum() for p in model.parameters()).sqrt()
    made = model.generate(ids[:, :3], 8, temperature=0)
    return lab.count_parameters(model.config), loss.detach(), norm, made
