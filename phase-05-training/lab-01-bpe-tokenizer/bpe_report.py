"""What `main()` shows: tokens in colour, compression against vocabulary size, the cost of merges, memory of a stream.

Nothing here is an exercise. `lab` is the module whose main() runs: the learner's own, or the reference.
"""

from __future__ import annotations

import argparse
import random
import time
import tracemalloc
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from itertools import pairwise
from types import ModuleType
from typing import Any

from labkit import run
from labkit.reference.tokenization_from_scratch import LONE_SURROGATE

SAMPLE = "Tokenizers don't read:  they merge bytes. Olé 🙂"


def report(lab: ModuleType, args: argparse.Namespace) -> None:
    """Trains on nine tenths of the documents, measures on the rest, prints, draws, saves."""
    texts = [d.text for d in run.load_data(args).documents if not LONE_SURROGATE.search(d.text)]
    random.Random(args.seed).shuffle(texts)
    texts = texts[: args.documents]
    if len(texts) < 10:
        raise SystemExit(f"at least 10 documents are needed, and {args.data} gave {len(texts)}")
    new, old = texts[: len(texts) // 10], texts[len(texts) // 10 :]  # the tokenizer never sees `new`

    start = time.perf_counter()
    tokenizer = lab.BPETokenizer.train(old, args.vocab_size, workers=args.workers)
    results: dict[str, Any] = {"train_seconds": time.perf_counter() - start, "documents": len(old)}
    results |= {"megabytes": sum(len(text.encode("utf-8")) for text in old) / 1e6, "vocabulary": tokenizer.n_vocab}
    merged = tokenizer.tokens[256 : 256 + len(tokenizer.merges)]
    print(f"{results['megabytes']:.1f} MB, {len(old):,} documents: {len(merged):,} merges learned\n")
    print("first merges  " + " ".join(f"[{_readable(token)}]" for token in merged[:16]))
    words = [token for token in merged if token.strip().isalpha()]
    print("longest words " + " ".join(f"[{_readable(token)}]" for token in sorted(words, key=len)[-4:]) + "\n")

    real, left_out = gpt2(lab)
    print(SAMPLE)
    for name, one in {"this one": tokenizer, "GPT-2": real}.items():
        if one is not None:
            print(f"  {name}, {len(one.encode_ordinary(SAMPLE))} tokens:  {tokens_of(one, SAMPLE)}")

    sizes = sizes_up_to(tokenizer.n_vocab, len(tokenizer.special_ids))
    curves: dict[str, list[float]] = {"training text": [], "new text": []}
    for size in run.progress(sizes, "vocabularies"):
        one = smaller(lab, tokenizer, size)
        curves["training text"].append(bytes_per_token(one, old[: len(new)]))
        curves["new text"].append(bytes_per_token(one, new))
    rows = [[f"{size:,}", *values] for size, *values in zip(sizes, *curves.values())]
    results["bytes_per_token"] = {f"at_{size}": curves["new text"][i] for i, size in enumerate(sizes)}
    results["training_bytes_per_token"] = curves["training text"][-1]
    if real is not None:
        results["gpt2_bytes_per_token"] = bytes_per_token(real, new)
        rows.append(["GPT-2", "-", results["gpt2_bytes_per_token"]])
    print("\nbytes per token:\n\n" + run.table(["vocabulary", "training text", "new text"], rows) + "\n")
    print(left_out or agreement(real, new, results))

    piece_counts = lab.count_pieces(old, list(tokenizer.special_ids))
    rewritten = pieces_rewritten(lab, piece_counts, tokenizer.merges)
    results |= {"pieces": len(piece_counts), "rewritten_mean": sum(rewritten) / len(rewritten)}
    results["times_less_work"] = len(piece_counts) * len(rewritten) / sum(rewritten)
    print(
        f"a merge changes {results['rewritten_mean']:.0f} of {len(piece_counts):,} distinct pieces on average: "
        f"{results['times_less_work']:,.0f} times less work than to count again"
    )
    stream_memory(tokenizer, new, 1)  # the pieces' ids are cached now, and the cache is not what is measured
    for times in (1, 4):
        results[f"stream_{times}"] = stream = stream_memory(tokenizer, new, times)
        print(f"streaming {stream['text_mb']:.2f} MB took {stream['peak_mb']:.2f} MB of memory")

    fig, ax = run.figure(width=7, height=4.2)
    draw_compression(ax, sizes, curves, results.get("gpt2_bytes_per_token"))
    run.save_figure(args, fig, "compression.png")
    fig, ax = run.figure(width=7, height=4.2)
    draw_work(ax, rewritten, len(piece_counts))
    run.save_figure(args, fig, "work.png")
    run.save_results(args, results)
    if args.save:
        tokenizer.save(args.save)
        print(f"saved   {args.save}")


def agreement(real: Any, texts: Sequence[str], results: dict[str, Any]) -> str:
    """One sentence on the ids of GPT-2's merges in this lab's code and in tiktoken's."""
    engine = tiktoken_of(real)
    if engine is None:
        return "GPT-2's ids were not compared: tiktoken is not installed (pip install tiktoken)."
    same = sum(real.encode_ordinary(text) == engine.encode_ordinary(text) for text in texts)
    results |= {"compared": len(texts), "same_as_tiktoken": same}
    return f"with GPT-2's merges, ids equal tiktoken's on {same:,} of {len(texts):,} new documents"


def _readable(token: bytes) -> str:
    """A token as text, a space as ·; in hexadecimal when its bytes are no text."""
    try:
        return token.decode("utf-8").replace(" ", "·").replace("\n", "↵")
    except UnicodeDecodeError:
        return token.hex()


def tokens_of(tokenizer: Any, text: str) -> str:
    """A text with a bar after each token."""
    return "|".join(_readable(tokenizer.tokens[i]) for i in tokenizer.encode_ordinary(text))


def bytes_per_token(tokenizer: Any, texts: Sequence[str]) -> float:
    """How many bytes of UTF-8 one token stands for: comparable between languages, unlike characters."""
    return sum(len(text.encode("utf-8")) for text in texts) / sum(
        len(tokenizer.encode_ordinary(text)) for text in texts
    )


def smaller(lab: ModuleType, tokenizer: Any, vocab_size: int) -> Any:
    """The tokenizer that training would have given with fewer merges: merges are learned one by one."""
    specials = list(tokenizer.special_ids)
    return lab.BPETokenizer(list(tokenizer.merges)[: vocab_size - 256 - len(specials)], specials)


def sizes_up_to(vocab_size: int, specials: int) -> list[int]:
    """257 (bytes and one special token), then powers of two, then the vocabulary itself."""
    powers = [2**k for k in range(9, 17) if 256 + specials < 2**k < vocab_size]
    return [256 + specials, *powers, vocab_size]


def gpt2(lab: ModuleType) -> tuple[Any, str]:
    """The real GPT-2's tokenizer in this lab's code, and ""; or None and one sentence that says what is missing."""
    from labkit import data

    try:
        vocab, merges = data.load("gpt2-encoder").path, data.load("gpt2-vocab").path
    except data.DataUnavailable:
        return None, "GPT-2's rows are left out: its files are neither in a mirror nor on the network."
    return lab.BPETokenizer.load(vocab, merges), ""


def tiktoken_of(tokenizer: Any) -> Any:
    """OpenAI's own engine, in Rust, with the same tokens; None where it is not installed."""
    if find_spec("tiktoken") is None:
        return None
    import tiktoken

    ordinary = tokenizer.tokens[: tokenizer.n_vocab - len(tokenizer.special_ids)]
    return tiktoken.Encoding(
        "ours",
        pat_str=r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
        mergeable_ranks={token: rank for rank, token in enumerate(ordinary)},
        special_tokens=tokenizer.special_ids,
    )


def pieces_rewritten(lab: ModuleType, piece_counts: dict[str, int], merges: Iterable[tuple[int, int]]) -> list[int]:
    """How many distinct pieces each merge changes, in the order of learning."""
    words = [lab.byte_ids(piece) for piece in piece_counts]
    _, where = lab.pair_index(words, [1] * len(words))
    rewritten = []
    for n, pair in enumerate(merges):
        changed = 0
        for index in where.pop(pair, ()):
            word = lab.merge_pair(words[index], pair, 256 + n)
            changed += len(word) < len(words[index])
            words[index] = word
            for neighbours in pairwise(word):
                where[neighbours].add(index)
        rewritten.append(changed)
    return rewritten


def stream_memory(tokenizer: Any, texts: Sequence[str], times: int) -> dict[str, float]:
    """Megabytes of text streamed `times` times over, and the most memory it took beyond what was there before."""
    stream = (text for _ in range(times) for text in texts)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        ids = sum(1 for _ in tokenizer.encode_iterable(stream, disallowed_special=()))
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    return {"text_mb": times * sum(len(t.encode("utf-8")) for t in texts) / 1e6, "peak_mb": peak / 1e6, "ids": ids}


def draw_compression(ax: Any, sizes: list[int], curves: dict[str, list[float]], gpt2_point: float | None) -> None:
    """curves: name of the text -> bytes per token at each vocabulary size."""
    for (name, curve), style in zip(curves.items(), ("--", "-")):
        ax.plot(sizes, curve, style, marker="o", markersize=3.5, color="C0", label=f"this tokenizer, {name}")
    if gpt2_point is not None:
        ax.plot([50_257], [gpt2_point], "s", color="C1", label="GPT-2's tokenizer, new text")
    ax.set(xscale="log", ylim=(0, None), xlabel="ids in the vocabulary (log scale)", ylabel="bytes per token")
    ticks = [256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]
    ax.set_xticks([tick for tick in ticks if tick <= 1.4 * max(sizes[-1], 50_257 if gpt2_point else 0)])
    ax.minorticks_off()
    ax.xaxis.set_major_formatter(lambda size, _: f"{size:,.0f}")
    ax.set_title("Each doubling of the vocabulary buys less")
    ax.legend(loc="lower right")


def draw_work(ax: Any, rewritten: list[int], pieces: int) -> None:
    """rewritten: pieces changed by each merge; pieces: all of them, which a trainer that recounts reads every time."""
    ax.plot(range(1, len(rewritten) + 1), rewritten, ".", markersize=2, color="C0", label="pieces that a merge changes")
    ax.axhline(pieces, color="C1", label="pieces that a recount reads")
    ax.set(xscale="log", yscale="log", xlabel="merge (log scale)", ylabel="distinct pieces (log scale)")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(lambda count, _: f"{count:,.0f}")
    ax.set_title("Nearly all pieces stay as they were")
    ax.legend(loc="lower left")
