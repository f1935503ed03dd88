"""Encode speed of this lab's tokenizers against tiktoken with GPT-2's merges, in one run, on the same documents.

python bench.py
python bench.py --data tinyshakespeare
"""

from __future__ import annotations

import time

import solution
import tokenizer_report

from labkit import run

PRESETS = {"smoke": {"documents": 300, "repeats": 3}, "cpu": {"documents": 12_000, "repeats": 7}}


def fastest_rounds(tokenizers: dict[str, object], texts: list[str], repeats: int) -> dict[str, float]:
    """Seconds of each tokenizer's best round over all texts; they take turns, so a busy moment hits all of them."""
    seconds = dict.fromkeys(tokenizers, float("inf"))
    for _ in run.progress(range(repeats), "rounds"):
        for name, tokenizer in tokenizers.items():
            start = time.perf_counter()
            for text in texts:
                tokenizer.encode(text)
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def main(argv: list[str] | None = None) -> None:
    args = run.arguments(__doc__, PRESETS, argv, data="python-docs")
    gpt2, left_out = tokenizer_report.gpt2_tokenizer()
    if gpt2 is None:
        raise SystemExit(left_out)
    texts = [document.text for document in run.load_data(args).documents][: args.documents]
    tokenizers = {
        "whitespace": solution.WhitespaceTokenizer.train(texts, min_freq=2),
        "regex": solution.RegexTokenizer.train(texts, min_freq=2),
        "bytes": solution.ByteLevelTokenizer(),
        "gpt2": gpt2,
    }
    seconds = fastest_rounds(tokenizers, texts, args.repeats)
    megabytes = sum(len(text.encode("utf-8")) for text in texts) / 1e6
    results = {name: {"mb_per_s": megabytes / s, "ratio": seconds["gpt2"] / s} for name, s in seconds.items()}

    print(f"{len(texts):,} documents, {megabytes:.1f} MB, one thread\n")
    print(run.table(["tokenizer", "MB/s", "x tiktoken"], [[name, *row.values()] for name, row in results.items()]))
    run.save_results(args, results | {"megabytes": megabytes}, "bench")


if __name__ == "__main__":
    run.main(main)
