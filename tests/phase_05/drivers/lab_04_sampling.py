"""The only test code of lab 5.4 that runs beside a learner's file: models made of tables, samplers, JSON texts."""

import torch


def each(lab, name, logits, arguments):
    """The function of that name on the same logits with each of these arguments: rows of numbers, -inf among them."""
    return [getattr(lab, name)(logits, *rest).tolist() for rest in arguments]


# ---------------------------------------------------------------- sampler


def process(lab, logits, ids, numbers):
    return lab.Sampler(**numbers).process(logits, ids)


def processed(lab, logits, ids, settings):
    return [lab.Sampler(**numbers).process(logits, ids).tolist() for numbers in settings]


def frequencies(lab, logits, ids, numbers, draws, seed):
    """How often each token of one row (V,) is drawn. The generator lives where the logits do."""
    generator = torch.Generator(logits.device).manual_seed(seed)
    rows = logits.expand(draws, -1)
    drawn = lab.Sampler(**numbers)(rows, ids.expand(draws, -1), generator)
    return torch.bincount(drawn, minlength=len(logits))


# ---------------------------------------------------------------- beam search


class Table:
    """A model that looks at the last two tokens.   table: (V, V, V) logits. Notes the shape of every call.

    The longer the text, the flatter: otherwise "abab" and "baba" could be equally probable but for rounding, and
    their order would say nothing.
    """

    def __init__(self, table):
        self.table, self.calls = table, []

    def __call__(self, ids):
        self.calls.append(tuple(ids.shape))
        return self.table[ids[:, -2], ids[:, -1]] / (1 + ids.size(1) / 16)


def beam(lab, table, prompt, settings):
    """[tokens, score] of each hypothesis"""
    return [[list(h.tokens), float(h.score)] for h in lab.beam_search(Table(table), prompt, **settings)]


def beam_calls(lab, table, prompt, settings):
    model = Table(table)
    lab.beam_search(model, prompt, **settings)
    return model.calls


# ---------------------------------------------------------------- contrastive search


def contrastive(lab, logits, context, states, k, alpha):
    """states: (V, D), the hidden state each token would have"""
    return int(lab.contrastive_step(logits, context, lambda candidates: states[candidates], k, alpha))


def contrastive_calls(lab, logits, context, states, k, alpha):
    """The candidates of every call of look_ahead, sorted."""
    calls = []

    def look_ahead(candidates):
        calls.append(sorted(candidates.tolist()))
        return states[candidates]

    lab.contrastive_step(logits, context, look_ahead, k, alpha)
    return calls


# ---------------------------------------------------------------- JSON


def constrained(lab, logits, tokens, eos_id, cases, mode="value"):
    """cases: [text so far, budget] each -> for each of them the tokens that may come, with their logits"""
    found = {}
    for text, budget in cases:
        left = lab.constrain(logits, lab.JsonPrefix(mode=mode).read(text), tokens, eos_id, budget).tolist()
        names = ["the end" if i == eos_id else token for i, token in enumerate(tokens)]
        case = f"after {text!r}" + (f", budget {budget}" if budget is not None else "")
        found[case] = {name: logit for name, logit in zip(names, left, strict=True) if logit > -torch.inf}
    return found


def constrain_alone(lab, logits, text, tokens, eos_id):
    """As it comes: shape, dtype and -inf."""
    return lab.constrain(logits, lab.JsonPrefix().read(text), tokens, eos_id)


def json_texts(lab, table, tokens, eos_id, limit, seeds):
    """Random texts of a table model, with everything of this file: penalties, cuts, grammar."""
    sampler = lab.Sampler(temperature=1.5, top_k=8, top_p=0.95, frequency=0.2)
    found = []
    for seed in seeds:
        generator = torch.Generator(table.device).manual_seed(seed)
        prompt = torch.tensor([[eos_id, eos_id]], device=table.device)

        def choose(logits, ids, generator=generator):
            return sampler(logits, ids, generator)

        found.append(lab.generate_json(Table(table), tokens, prompt, eos_id, limit, choose))
    return found
