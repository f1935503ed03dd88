"""Training and encoding beside the two Rust libraries that everybody uses, in one run, on the same text, on one thread.

python bench.py                        5 MB, 4,096 ids; GPT-2's merges are used for encoding where they can be had
python bench.py --data tinyshakespeare --vocab-size 2048
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

os.environ["RAYON_NUM_THREADS"] = "1"  # before tokenizers is imported
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import bpe_report
import solution

from labkit import run

PRESETS = {
    "smoke": {"megabytes": 0.3, "vocab_size": 512, "repeats": 1},
    "cpu": {"megabytes": 5.0, "vocab_size": 4096, "repeats": 5},
}


def first_megabytes(texts: list[str], megabytes: float) -> tuple[list[str], float]:
    """The first texts until there are so many megabytes, and how many there are."""
    taken, size = [], 0.0
    for text in texts:
        if size >= megabytes:
            break
        taken.append(text)
        size += len(text.encode("utf-8")) / 1e6
    return taken, size


def train_in_rust(texts: list[str], vocab_size: int) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    wanted = {"vocab_size": vocab_size, "min_frequency": 2, "initial_alphabet": alphabet, "show_progress": False}
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(**wanted))
    return tokenizer


def best_of_turns(actions: dict[str, Callable[[], Any]], repeats: int, name: str) -> dict[str, float]:
    """Seconds of each action's best turn; they take turns, so that a busy moment hits all of them."""
    seconds = dict.fromkeys(actions, float("inf"))
    for _ in run.progress(range(repeats), name):
        for key, action in actions.items():
            start = time.perf_counter()
            action()
            seconds[key] = min(seconds[key], time.perf_counter() - start)
    return seconds


def main(argv: list[str] | None = None) -> None:
    args = run.arguments(__doc__, PRESETS, argv, data="python-docs+packages")
    if missing := [package for package in ("tiktoken", "tokenizers") if find_spec(package) is None]:
        raise SystemExit(f"there is nothing to compare with: pip install {' '.join(missing)}")
    texts = [d.text for d in run.load_data(args).documents if not bpe_report.LONE_SURROGATE.search(d.text)]
    texts, megabytes = first_megabytes(texts, args.megabytes)
    results: dict[str, Any] = {"megabytes": megabytes, "vocabulary": args.vocab_size}

    ours = solution.BPETokenizer.train(texts, args.vocab_size, ())
    trainers = {
        "this lab": lambda: solution.BPETokenizer.train(texts, args.vocab_size, ()),
        "tokenizers": lambda: train_in_rust(texts, args.vocab_size),
    }
    seconds = best_of_turns(trainers, min(args.repeats, 3), "training")
    results["train"] = {"seconds": seconds["this lab"], "ratio": seconds["this lab"] / seconds["tokenizers"]}
    print(f"training {args.vocab_size:,} ids on {megabytes:.1f} MB, one thread\n")
    rows = [[name, value, value / seconds["tokenizers"]] for name, value in seconds.items()]
    print(run.table(["trainer", "seconds", "x tokenizers"], rows) + "\n")

    real, left_out = bpe_report.gpt2(solution)
    tokenizer = real or ours
    merges = list(tokenizer.merges)

    def encode(one: Any) -> Callable[[], Any]:
        return lambda: [one.encode_ordinary(text) for text in texts]

    def first_pass() -> Any:
        fresh = solution.BPETokenizer(merges, list(tokenizer.special_ids))  # nothing cached yet
        return encode(fresh)()

    tiktoken = bpe_report.tiktoken_of(tokenizer)
    rust = hugging_face(tokenizer)
    encoders = {
        "this lab, first pass": first_pass,
        "this lab, cache filled": encode(tokenizer),
        "tokenizers": lambda: [rust.encode(text, add_special_tokens=False).ids for text in texts],
        "tiktoken": encode(tiktoken),
    }
    seconds = best_of_turns(encoders, args.repeats, "encoding")
    rows = [[name, megabytes / value, seconds["tiktoken"] / value] for name, value in seconds.items()]
    for key, (_, speed, ratio) in zip(("first", "cached", "tokenizers", "tiktoken"), rows):
        results[key] = {"mb_per_s": speed, "ratio": ratio}
    whose = "its own" if left_out else "GPT-2's"
    print(f"encoding the same with {whose} merges\n")
    print(run.table(["encoder", "MB/s", "x tiktoken"], rows))
    run.save_results(args, results, "bench")


def hugging_face(tokenizer: solution.BPETokenizer) -> Any:
    """The same tokenizer in `tokenizers`, by way of a saved file."""
    import tempfile
    from pathlib import Path

    from tokenizers import Tokenizer

    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(folder)
        return Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))


if __name__ == "__main__":
    run.main(main)
