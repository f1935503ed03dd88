"""What `python solution.py` (or your finished lab.py) shows: strategies compared, and JSON by construction.

`lab` is the namespace of the file that was started, so the numbers are those of the code in it.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from labkit import data, run
from labkit.reference.bpe_tokenizer import BPETokenizer
from labkit.reference.mini_transformer import MiniGPT
from labkit.reference.nano_gpt import house_models

PROMPT = 16  # tokens of a story the model has not seen, <|endoftext|> first
BEAM_PROMPTS, BEAM_TOKENS = 20, 12
HUMAN = "TinyWorld itself"


def show(args: Any, lab: SimpleNamespace) -> None:
    model, held_out = language_model(args)
    prompts = held_out[:, :PROMPT]
    nats = model.nats(held_out)
    results: dict[str, Any] = {"model": {"parameters": model.parameters, "held_out_nats": nats}}
    print(f"house model: {model.parameters:,} parameters, {nats:.2f} nats per token here\n")
    texts = {HUMAN: held_out}
    for name, sample in run.progress(strategies(lab, model, args.tokens).items(), "sampling"):
        texts[name] = sample(prompts)
    found = {name: measures(model, ids) for name, ids in texts.items()}
    results["strategies"] = {re.sub(r"\W+", "_", name): row for name, row in found.items()}
    header = ["strategy", "nats/token", "distinct-1", "distinct-4", "self-BLEU", "repeats"]
    print(run.table(header, [[name, *row.values()] for name, row in found.items()]))
    for name in ("greedy", "top-p 0.9", "temperature 2"):
        print(f"\n{name}: ... {model.decode(texts[name][0, PROMPT : PROMPT + 24])}")
    likely = beams(lab, model, prompts[:BEAM_PROMPTS])
    print("\n" + run.table(["beams", "ln p of the best"], likely))
    results["beams"] = {f"n{n}": log_p for n, log_p in likely}
    kept = set_sizes(lab, model, held_out)
    results["json"] = valid_json(lab, args)
    plot_strategies(args, found)
    plot_set_sizes(args, kept)
    run.save_results(args, results)


# ---------------------------------------------------------------- the model


@dataclass
class LanguageModel:
    """The target of lab 5.2's house models: a decoder of lab 4.4 and the tokenizer of lab 5.1."""

    net: MiniGPT
    tokenizer: BPETokenizer

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.net.parameters())

    @torch.no_grad()
    def hidden(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, D)"""
        return self.net.features(ids)

    def next_logits(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, V)"""
        return self.net.head(self.hidden(ids)[:, -1])

    @torch.no_grad()
    def nats(self, ids: Tensor) -> float:
        """Mean -ln p of every token after the prompt, at temperature 1.   ids: (B, PROMPT + L)"""
        log_p = self.net(ids)[0][:, PROMPT - 1 : -1].log_softmax(-1)
        return -log_p.gather(-1, ids[:, PROMPT:, None]).mean().item()

    def decode(self, ids: Tensor) -> str:
        return self.tokenizer.decode(ids.tolist())


def language_model(args: Any) -> tuple[LanguageModel, Tensor]:
    """The model, and stories of the test split, which it has not seen: (args.samples, PROMPT + args.tokens)."""
    model = LanguageModel(*house_models.load("target", args.device))
    corpus = data.load("tinyworld-test", limit=2 * args.samples)
    args.data_versions = corpus.versions
    eot, length = model.tokenizer.eot_id, PROMPT + args.tokens
    stories = ([eot, *model.tokenizer.encode_ordinary(document.text)] for document in corpus.documents)
    long_enough = [story[:length] for story in stories if len(story) >= length]
    return model, torch.tensor(long_enough[: args.samples], device=args.device)


# ---------------------------------------------------------------- strategies


def strategies(lab: SimpleNamespace, model: LanguageModel, length: int) -> dict[str, Any]:
    """name -> a function from prompts (B, PROMPT) to texts (B, PROMPT + length)"""
    settings = {
        "greedy": {"temperature": 0.0},
        "temperature 0.7": {"temperature": 0.7},
        "temperature 1": {},
        "temperature 1.4": {"temperature": 1.4},
        "temperature 2": {"temperature": 2.0},
        "top-k 5": {"top_k": 5},
        "top-k 40": {"top_k": 40},
        "top-p 0.9": {"top_p": 0.9},
        "min-p 0.1": {"min_p": 0.1},
        "min-p 0.1, T = 2": {"min_p": 0.1, "temperature": 2.0},
        "typical 0.9": {"typical_p": 0.9},
        "greedy, penalty 1.3": {"temperature": 0.0, "repetition": 1.3},
    }

    def sampling(choose: Any) -> Any:
        return lambda prompts: lab.generate(model.next_logits, prompts, length, choose)

    def beam(prompts: Tensor) -> Tensor:
        best = [lab.beam_search(model.next_logits, prompt, 4, length)[0].tokens for prompt in prompts]
        return torch.cat([prompts, prompts.new_tensor(best)], dim=1)

    def contrastive(prompts: Tensor) -> Tensor:
        rows = []
        for prompt in prompts:
            ids = prompt[None]
            for _ in range(length):
                context = model.hidden(ids)[0]  # (T, D)

                def look_ahead(candidates: Tensor, ids: Tensor = ids) -> Tensor:
                    longer = torch.cat([ids.expand(len(candidates), -1), candidates[:, None]], dim=1)
                    return model.hidden(longer)[:, -1]

                token = lab.contrastive_step(model.net.head(context[-1]), context, look_ahead, k=5, alpha=0.6)
                ids = torch.cat([ids, ids.new_tensor([[token]])], dim=1)
            rows.append(ids)
        return torch.cat(rows)

    found = {name: sampling(lab.Sampler(**numbers)) for name, numbers in settings.items()}
    return found | {"beam search, 4": beam, "contrastive, 0.6": contrastive}


def beams(lab: SimpleNamespace, model: LanguageModel, prompts: Tensor) -> list[tuple[int, float]]:
    """How likely the best text found is, for growing numbers of beams."""
    found = []
    for n in (1, 2, 4, 8, 16):
        best = [lab.beam_search(model.next_logits, prompt, n, BEAM_TOKENS, alpha=0.0)[0].score for prompt in prompts]
        found.append((n, sum(best) / len(best)))
    return found


# ---------------------------------------------------------------- what is measured


def grams(tokens: Sequence[int], n: int) -> list[tuple[int, ...]]:
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def distinct(texts: Sequence[Sequence[int]], n: int) -> float:
    """The share of different n-grams among all n-grams of all texts.      Li et al. 2016"""
    found = [gram for text in texts for gram in grams(text, n)]
    return len(set(found)) / len(found)


def self_bleu(texts: Sequence[Sequence[int]], longest: int = 4) -> float:
    """Mean BLEU of each text against all others: 1 if all say the same.      Zhu et al. 2018

    All texts have the same length, so there is no brevity penalty; a text without a common n-gram has BLEU 0.
    """
    scores = []
    for i in range(len(texts)):
        log_precision = 0.0
        for n in range(1, longest + 1):
            own, most = Counter(grams(texts[i], n)), Counter()
            for j in range(len(texts)):
                if j != i:
                    most |= Counter(grams(texts[j], n))
            shared = (own & most).total() / own.total()
            log_precision += math.log(shared) / longest if shared else -math.inf
        scores.append(math.exp(log_precision))
    return sum(scores) / len(scores)


def repeats(texts: Sequence[Sequence[int]], n: int = 4) -> float:
    """The share of n-grams that have stood in the same text before: loops."""
    return sum(1 - distinct([text], n) for text in texts) / len(texts)


def measures(model: LanguageModel, ids: Tensor) -> dict[str, float]:
    texts = ids[:, PROMPT:].tolist()
    return {
        "nats": model.nats(ids),
        "distinct_1": distinct(texts, 1),
        "distinct_4": distinct(texts, 4),
        "self_bleu": self_bleu(texts),
        "repeats": repeats(texts),
    }


def set_sizes(lab: SimpleNamespace, model: LanguageModel, ids: Tensor) -> dict[str, list[float]]:
    """In real contexts: the entropy of the next token, and how many tokens each rule would keep."""
    rules = {
        "top-k 40": lambda x: lab.top_k(x, 40),
        "top-p 0.9": lambda x: lab.top_p(x, 0.9),
        "min-p 0.1": lambda x: lab.min_p(x, 0.1),
    }
    found: dict[str, list[float]] = {"entropy": [], **{name: [] for name in rules}}
    for t in range(PROMPT, ids.size(1), 6):
        logits = model.next_logits(ids[:, :t])
        found["entropy"] += torch.distributions.Categorical(logits=logits).entropy().tolist()
        for name, rule in rules.items():
            found[name] += (rule(logits) > -math.inf).sum(-1).tolist()
    return found


# ---------------------------------------------------------------- JSON


def valid_json(lab: SimpleNamespace, args: Any) -> dict[str, float]:
    """A model of three characters at a time has learnt JSON a little. How often is what it writes valid?"""
    rng = random.Random(args.seed)
    names, things = ["Sam", "Ruth", "Joe", "Anna", "Tim"], ["bell", "coin", "letter", "towel"]
    records = [
        {"name": rng.choice(names), "age": rng.randrange(90), "has": rng.sample(things, rng.randrange(3)), "ok": None}
        for _ in range(300)
    ]
    texts = [json.dumps(record) for record in records]
    tokens = [*sorted(set("".join(texts)) | set('{}[]",:0')), '", "', '": ', "null", "<end>"]
    eos_id, characters = len(tokens) - 1, {c: i for i, c in enumerate(tokens) if len(c) == 1}
    counts = torch.full((len(tokens) ** 2, len(tokens)), 0.02)
    for text in texts:
        ids = [eos_id, eos_id, *(characters[c] for c in text), eos_id]
        for a, b, c in zip(ids, ids[1:], ids[2:], strict=False):
            counts[a * len(tokens) + b, c] += 1

    def next_logits(ids: Tensor) -> Tensor:
        return counts[ids[:, -2] * len(tokens) + ids[:, -1]].log()

    prompt, limit, sampler = torch.tensor([[eos_id, eos_id]]), 60, lab.Sampler()
    valid = {"free": 0, "constrained": 0}
    for i in range(args.documents):
        ids = lab.generate(next_logits, prompt, limit, sampler)[0, 2:].tolist()
        free = "".join(tokens[j] for j in (ids[: ids.index(eos_id)] if eos_id in ids else ids))
        start = lab.JsonPrefix(mode="object")
        forced = lab.generate_json(next_logits, tokens, prompt, eos_id, limit, sampler, start)
        for name, text in (("free", free), ("constrained", forced)):
            valid[name] += is_object(text)
            if i < 2:
                print(f"{'' if i or name != 'free' else chr(10)}{name:12}{text}")
    share = {name: n / args.documents for name, n in valid.items()}
    print(f"valid JSON objects, of {args.documents}: free {valid['free']}, constrained {valid['constrained']}\n")
    return share


def is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


# ---------------------------------------------------------------- figures


def plot_strategies(args: Any, found: dict[str, dict[str, float]]) -> None:
    fig, axes = run.figure(1, 2, width=10, height=5)
    families = {"temperature": "C0", "top": "C1", "min": "C1", "typical": "C1", HUMAN: "black"}
    for ax, key, title in zip(axes, ("distinct_4", "self_bleu"), ("distinct-4", "self-BLEU"), strict=True):
        for marker, (name, row) in zip("*o^sDvo^sDvPX^s", found.items(), strict=True):
            colour = next((c for start, c in families.items() if name.startswith(start)), "C2")
            size = 15 if name == HUMAN else 8
            ax.plot(row["nats"], row[key], marker, color=colour, ms=size, alpha=0.8, mec="white", label=name)
        ax.set_xscale("log")
        ax.set_xticks([0.5, 0.7, 1, 1.5, 2, 3], ["0.5", "0.7", "1", "1.5", "2", "3"])
        ax.minorticks_off()
        ax.set_title(title)
        ax.set_xlabel("nats per token (likely text on the left)")
    handles, names = axes[0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower center", ncols=4, fontsize=9)
    run.save_figure(args, fig, "strategies.png")


def plot_set_sizes(args: Any, kept: dict[str, list[float]]) -> None:
    fig, ax = run.figure(width=7, height=4)
    for name, sizes in kept.items():
        if name != "entropy":
            ax.plot(kept["entropy"], sizes, "o", ms=4, alpha=0.5, label=name)
    ax.set_yscale("log")
    ax.set_xlabel("entropy of the next token (nats)")
    ax.set_ylabel("tokens kept")
    ax.legend()
    run.save_figure(args, fig, "set_sizes.png")
