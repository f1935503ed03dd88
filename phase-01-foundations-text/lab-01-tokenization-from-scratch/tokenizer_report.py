"""What `main()` shows about tokenizers: token boundaries in colour, costs, coverage curves, and GPT-2 as a yardstick.

Nothing here is an exercise. A tokenizer is anything with `encode`, `decode` and `vocab_size`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from itertools import accumulate, cycle

SHADES = ("black on #cfe8ff", "black on #d8f3dc", "black on #ffe8cc", "black on #f3d9fa")


class Gpt2Tokenizer:
    """OpenAI's own GPT-2 tokenizer: `tiktoken` with the 50,000 published merges."""

    def __init__(self, merges: str):
        """merges: the text of `vocab.bpe`, a version line and then one merge per line, in order of rank."""
        import tiktoken

        # GPT-2's files write each byte as one printable character: itself, or for the 68 others U+0100, U+0101 ...
        printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
        order = printable + [byte for byte in range(256) if byte not in printable]
        byte_of = {chr(b if b in printable else 256 + i - len(printable)): b for i, b in enumerate(order)}
        tokens = [bytes([b]) for b in order]
        tokens += [bytes(byte_of[c] for c in line.replace(" ", "")) for line in merges.splitlines()[1:]]
        self.encoding = tiktoken.Encoding(
            "gpt2",
            pat_str=r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
            mergeable_ranks={token: rank for rank, token in enumerate(tokens)},
            special_tokens={"<|endoftext|>": len(tokens)},
        )
        self.vocab_size = self.encoding.n_vocab
        self.encode, self.decode = self.encoding.encode_ordinary, self.encoding.decode


def gpt2_tokenizer() -> tuple[Gpt2Tokenizer | None, str]:
    """The tokenizer and "", or None and one sentence that says what is missing."""
    from labkit import data

    if find_spec("tiktoken") is None:
        return None, "GPT-2's row is left out: tiktoken is not installed (pip install tiktoken)."
    try:
        return Gpt2Tokenizer(data.load("gpt2-vocab").text), ""
    except data.DataUnavailable:
        return None, "GPT-2's row is left out: its merges (gpt2-vocab) are neither in a mirror nor on the network."


def labels(tokenizer, text: str) -> list[str]:
    """The tokens of a text as a reader can tell them apart: spaces as ·, bytes that are no text in hexadecimal."""
    ids = tokenizer.encode(text)
    if hasattr(tokenizer, "vocab"):
        tokens = [tokenizer.vocab[i] for i in ids]
    elif hasattr(tokenizer, "encoding"):
        tokens = [_readable(tokenizer.encoding.decode_single_token_bytes(i)) for i in ids]
    else:
        tokens = [_readable(bytes([i])) for i in ids]
    return [token.replace(" ", "·").replace("\n", "↵") for token in tokens]


def _readable(token: bytes) -> str:
    try:
        return token.decode("utf-8")
    except UnicodeDecodeError:
        return token.hex()


def show(sentence: str, tokenizers: dict[str, object], unknown: str) -> None:
    """Prints token boundaries as changing background colours; where there are none (a pipe), a bar ends each token."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    plain = console.color_system is None or console.no_color
    console.print(sentence, end="\n\n", markup=False)
    for name, tokenizer in tokenizers.items():
        tokens = labels(tokenizer, sentence)
        head = f"{name:<11}{len(tokens):>3} tokens  "
        line, used = Text(head), len(head)
        for token, shade in zip(tokens, cycle(SHADES)):
            shown = token + "|" * plain
            if (used := used + cell_len(shown)) > console.width:  # tokens are not broken across lines
                line.append("\n" + " " * len(head))
                used = len(head) + cell_len(shown)
            line.append(shown, style="white on #c92a2a" if token == unknown else shade)
        console.print(line, soft_wrap=True)
    console.print()


def measure(tokenizer, texts: Sequence[str], repeats: int) -> dict[str, float]:
    """Vocabulary size, characters per token, % of pieces unknown, % of texts that come back exactly, speed.

    Speed is the best of `repeats` rounds, in MB of UTF-8 per second.
    """
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        ids = [tokenizer.encode(text) for text in texts]
        seconds.append(time.perf_counter() - start)
    tokens = sum(map(len, ids))
    unknown = sum(row.count(tokenizer.unk_id) for row in ids) if hasattr(tokenizer, "unk_id") else 0
    exact = sum(tokenizer.decode(row) == text for row, text in zip(ids, texts, strict=True))
    return {
        "vocabulary": tokenizer.vocab_size,
        "chars_per_token": sum(map(len, texts)) / tokens,
        "unknown_percent": 100 * unknown / tokens,
        "exact_percent": 100 * exact / len(texts),
        "mb_per_s": sum(len(text.encode("utf-8")) for text in texts) / 1e6 / min(seconds),
    }


def coverage(tokenizer, texts: Iterable[str]) -> list[float]:
    """% of the texts' pieces that a vocabulary of only the k most frequent words would know, for k = 1 .. all of them.

    Ids are sorted by frequency, so the k most frequent words are the first k after the special tokens.
    """
    hits = Counter(i for text in texts for i in tokenizer.encode(text))
    first, total = len(tokenizer.special_tokens), hits.total()
    return [100 * known / total for known in accumulate(hits[i] for i in range(first, tokenizer.vocab_size))]


def draw_coverage(ax, curves: dict[str, dict[str, list[float]]]) -> None:
    """curves: tokenizer -> "training text" or "new text" -> % covered by the k most frequent words, k = 1, 2, ..."""
    for colour, (name, of_text) in zip(("C0", "C1"), curves.items()):
        for (text, curve), style in zip(of_text.items(), ("--", "-")):
            ax.plot(range(1, len(curve) + 1), curve, style, color=colour, label=f"{name}, {text}")
    ax.plot([256], [100], "o", color="C2", label="bytes, any text")
    longest = max(len(curve) for of_text in curves.values() for curve in of_text.values())
    ax.set(xscale="log", xlim=(1, 1.3 * longest), ylim=(0, 104))
    ax.set(xlabel="vocabulary size (log scale)", ylabel="% of the text's pieces covered")
    ax.xaxis.set_major_formatter(lambda size, _: f"{size:,.0f}")
    ax.set_title("Words never cover all of a new text; 256 bytes do")
    ax.legend(loc="lower right")
