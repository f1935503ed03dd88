"""From two checkpoints to two folders that `AutoModelForCausalLM.from_pretrained` reads, and what the models can do.

Writes house-models/target and house-models/draft, and to house-models/figures what was measured: the numbers of the
card, house-models/README.md, which is written by hand.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from labkit import run
from labkit.data.tinyworld import TinyWorld
from labkit.reference.bpe_tokenizer import EOT, BPETokenizer
from labkit.reference.mini_transformer import MiniGPT, count_parameters, hf_weights
from labkit.reference.nano_gpt import fixed_windows, floors, house_models, house_scores, open_shards, run_log

HERE = Path(__file__).parent
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' }}
{%- if message.role == 'assistant' -%}
{% generation %}{{ message.content + '<|im_end|>' }}{% endgeneration %}
{%- else -%}
{{ message.content + '<|im_end|>' }}
{%- endif -%}
{{ '\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""
COUNTED = 5_000_000  # tokens the 4-gram is counted on
READ = 20  # stories of each model's own


def write_folder(gpt: MiniGPT, tokenizer: BPETokenizer, folder: Path) -> None:
    """Weights in bfloat16, config, and a tokenizer that AutoTokenizer reads, with a ChatML template."""
    from transformers import PreTrainedTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    pad = tokenizer.special_ids["<|pad|>"]
    theirs = hf_weights.to_transformers(gpt).to(torch.bfloat16)
    theirs.config.update({"bos_token_id": tokenizer.eot_id, "eos_token_id": tokenizer.eot_id, "pad_token_id": pad})
    theirs.generation_config.update(bos_token_id=tokenizer.eot_id, eos_token_id=tokenizer.eot_id, pad_token_id=pad)
    theirs.save_pretrained(folder)
    tokenizer.save(folder)
    for name in ("vocab.json", "merges.txt"):  # tokenizer.json has them
        (folder / name).unlink()
    specials = [token for token in tokenizer.special_ids if token not in (EOT, "<|pad|>")]
    theirs = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), bos_token=EOT, eos_token=EOT, pad_token="<|pad|>",
        additional_special_tokens=specials, chat_template=CHAT_TEMPLATE, model_max_length=gpt.config.block_size,
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
    theirs.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors lets only its owner read the weights


def logit_difference(name: str, tokenizer: BPETokenizer) -> float:
    """The largest difference between the logits of `house_models.load` and of transformers, in float32."""
    from transformers import AutoModelForCausalLM

    ours, _ = house_models.load(name)
    theirs = AutoModelForCausalLM.from_pretrained(house_models.folder_of(name), dtype=torch.float32)
    text = next(TinyWorld().stories("test", 1)).text
    ids = torch.tensor([[tokenizer.eot_id, *tokenizer.encode_ordinary(text)]])
    with torch.no_grad():
        return float((ours(ids)[0] - theirs(ids).logits).abs().max())


def scores(gpt: MiniGPT, tokenizer: BPETokenizer, items: dict[str, list], stories: int) -> dict[str, Any]:
    found: dict[str, Any] = {"parameters": count_parameters(gpt.config)}
    found |= house_scores.story_nats(gpt, tokenizer, stories)
    for kind, of_kind in items.items():
        answered = house_scores.answers(gpt, of_kind)
        found[kind] = house_scores.accuracy(of_kind, [choice for choice, _ in answered])
        found[f"{kind}_open"] = sum(greedy for _, greedy in answered) / len(answered)
    return found


def export(folder: Path, count: int = 1000) -> None:
    """folder: shards, tokenizer and checkpoints of both models   count: test items of each kind"""
    began = time.perf_counter()
    tokenizer = BPETokenizer.load(folder / "tokenizer")
    items = {
        "cloze": house_scores.cloze_items(tokenizer, count), "choice": house_scores.choice_items(tokenizer, count)
    }  # fmt: skip
    train = np.asarray(open_shards(folder, "train")[0][:COUNTED], dtype=np.int64)
    found: dict[str, Any] = {
        f"ngram_{kind}": house_scores.accuracy(of, house_scores.ngram_answers(train, of, tokenizer.n_vocab))
        for kind, of in items.items()
    }
    found["named_most"] = {kind: house_scores.named_most(kind, count) for kind in ("cloze", "choices")}
    windows = fixed_windows(open_shards(folder, "validation")[0], 64, 256).numpy()
    found["floors"] = floors.of([train], windows, tokenizer.n_vocab, None)
    for name in house_models.RECIPES:
        gpt = house_models.trained(name, folder)
        write_folder(gpt, tokenizer, house_models.folder_of(name))
        found[name] = scores(gpt, tokenizer, items, count)
        found[name] |= {"logit_difference": logit_difference(name, tokenizer), **history(name, folder)}
        held_out = house_scores.cloze_items(tokenizer, count, "validation")
        chosen = [choice for choice, _ in house_scores.answers(gpt, held_out)]
        found[name]["validation"] = house_scores.accuracy(held_out, chosen)["all"]
        found[name]["decay"] = house_models.RECIPES[name]["decay"]
        for key, temperature in (("greedy", 0.0), ("drawn", 1.0)):
            texts = house_scores.own_stories(gpt, tokenizer, READ, temperature)
            found[name][key] = house_scores.held_to_account(texts)
            file = house_models.folder_of(name).parent / "figures" / f"{name}-{key}.txt"
            file.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
        nats, cloze, updates = found[name]["nats"], found[name]["cloze"]["all"], found[name]["updates"]
        print(f"{name}: {nats:.3f} nats per token, cloze {cloze:.1%}, {updates:,} updates")
    args = SimpleNamespace(
        out=HERE / "house-models" / "figures", lab_folder=HERE, started=began, command="python house_models.py --export"
    )
    plot(args, found)
    run.save_results(args, found, "house")


def history(name: str, folder: Path) -> dict[str, Any]:
    """What training cost, all branches together, and how the held-out loss fell on the way to the last end."""
    decay, ends = (house_models.RECIPES[name][key] for key in ("decay", "ends"))
    branches = [run_log.read(folder / f"{name}-{end}.jsonl") for end in ends]
    begun = [next(r["cpu"] for r in records if r["step"] == end - decay) for records, end in zip(branches, ends)]
    spent = branches[-1][-1]["cpu"] + sum(r[-1]["cpu"] - start for r, start in zip(branches[:-1], begun))
    curve = [(r["step"], r["held_out"]) for r in branches[-1] if "held_out" in r]
    found = {"updates": ends[-1], "first_end": ends[0], "cpu_minutes": spent / 60}
    return found | {"curve_updates": [step for step, _ in curve], "curve": [loss for _, loss in curve]}


def plot(args: argparse.Namespace | SimpleNamespace, found: dict[str, Any]) -> None:
    fig, ax = run.figure(width=7, height=4.2)
    for color, name in (("C0", "target"), ("C1", "draft")):
        ax.plot(found[name]["curve_updates"], found[name]["curve"], "o-", color=color, markersize=3, label=name)
    run_log.floor_lines(ax, found["floors"] | {"entropy": found["target"]["entropy"]})
    ax.set(xlabel="update", ylabel="held-out nats per token, whole stories", yscale="log", ylim=(0.5, 10))
    ax.set_yticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
    ax.minorticks_off()
    ax.legend()
    run.save_figure(args, fig, "house.png")
