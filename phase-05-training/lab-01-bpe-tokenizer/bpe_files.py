"""Reading and writing tokenizers: GPT-2's two files, and the one file of Hugging Face's `tokenizers`.

GPT-2 writes a token as text, one visible character per byte (`byte_alphabet` in solution.py): " the" is "Ġthe".

- vocab.json (OpenAI calls it encoder.json): token -> id, special tokens included
- merges.txt (vocab.bpe): a version line, then the two tokens of each merge with a space between, first learned first
- tokenizer.json: both, and how to cut, in the format of `tokenizers.Tokenizer.from_file`
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

Pair = tuple[int, int]
TWO_FILES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))


def write(
    folder: Path, tokens: Sequence[bytes], merges: Sequence[Pair], specials: Sequence[str], alphabet: Mapping[int, str]
) -> None:
    """All three files into `folder`, which is made if need be. tokens: the bytes of each id, special tokens last."""
    ordinary = len(tokens) - len(specials)
    names = ["".join(alphabet[byte] for byte in token) for token in tokens[:ordinary]]
    vocab = {name: i for i, name in enumerate([*names, *specials])}
    if len(vocab) < len(tokens):
        raise ValueError("two ids have the same token: these files cannot tell them apart")
    named = [(names[first], names[second]) for first, second in merges]
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": ordinary + n, "content": token} | added for n, token in enumerate(specials)],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": named,
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["#version: 0.2", *(f"{first} {second}" for first, second in named)]
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    (folder / "tokenizer.json").write_text(json.dumps(whole, ensure_ascii=False, indent=1), encoding="utf-8")


def read(path: Path, merges_file: Path | None, alphabet: Mapping[int, str]) -> tuple[list[Pair], list[str]]:
    """The merges as pairs of ids, and the special tokens in the order of their ids.

    path: a folder, a tokenizer.json, or with `merges_file` the file of the vocabulary.
    Raises ValueError when the ids are not bytes, merges, special tokens in this order: other tokenizers number them
    differently, and a model reads nothing but ids.
    """
    if merges_file is not None:
        vocab, named = _two_files(path, merges_file)
    elif path.is_dir():
        pair = next((pair for pair in TWO_FILES if all((path / name).is_file() for name in pair)), None)
        if pair is None:
            raise FileNotFoundError(f"{path} holds neither vocab.json and merges.txt nor encoder.json and vocab.bpe")
        vocab, named = _two_files(path / pair[0], path / pair[1])
    else:
        vocab, named = _one_file(path)
    ids = {character: i for i, character in enumerate(alphabet.values())}
    merges = []
    for n, (first, second) in enumerate(named):
        if first not in ids or second not in ids:
            raise ValueError(f"{path}: merge number {n} joins {first!r} and {second!r}, which no merge has made before")
        merges.append((ids[first], ids[second]))
        ids[first + second] = 256 + n
    specials = sorted((token for token in vocab if token not in ids), key=vocab.get)
    ids |= {token: 256 + len(merges) + n for n, token in enumerate(specials)}
    if wrong := next((token for token in ids if vocab.get(token) != ids[token]), None):
        raise ValueError(
            f"{path}: expected the ids of bytes, merges, special tokens in this order, so {ids[wrong]} for {wrong!r}, "
            f"got {vocab.get(wrong)}"
        )
    return merges, specials


def _two_files(vocab_file: Path, merges_file: Path) -> tuple[dict[str, int], list[list[str]]]:
    vocab = json.loads(vocab_file.read_text(encoding="utf-8"))
    lines = merges_file.read_text(encoding="utf-8").split("\n")
    if lines[0].startswith("#version"):  # only the first line: a merge may begin with "#", too
        lines = lines[1:]
    named = [line.split(" ") for line in lines if line]
    if wrong := next((parts for parts in named if len(parts) != 2), None):
        raise ValueError(f"{merges_file}: expected two tokens and a space between them, got {' '.join(wrong)!r}")
    return vocab, named


def _one_file(path: Path) -> tuple[dict[str, int], list[list[str]]]:
    whole = json.loads(path.read_text(encoding="utf-8"))
    model = whole.get("model", {}) if isinstance(whole, dict) else {}
    cut = (whole.get("pre_tokenizer") or {}) if model else {}
    if model.get("type") != "BPE" or cut.get("type") != "ByteLevel" or cut.get("add_prefix_space"):
        raise ValueError(f"{path}: expected byte-level BPE without a prefix space, got {model.get('type')} {cut}")
    named = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]  # older files: "a b"
    return model["vocab"] | {token["content"]: token["id"] for token in whole["added_tokens"]}, named
