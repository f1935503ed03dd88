"""What runs beside the learner's code: tokenizers are built here, plain values go back.

`settings` are what a tokenizer is made of: its merges, as pairs of ids, and its special tokens.
"""

from collections import defaultdict

from labkit.grading.driving import peak_of


def alphabet_items(lab):
    return list(lab.byte_alphabet().items())


def piece_counts(lab, texts, special_tokens):
    return dict(lab.count_pieces(texts, special_tokens))


def piece_counts_of_generator(lab, texts, special_tokens):
    return dict(lab.count_pieces((text for text in texts), special_tokens))


def piece_counts_with_surrogate(lab, before, after):
    return dict(lab.count_pieces([before, before + "\ud83d" + after]))


def merges_learned(lab, counts, n_merges, min_frequency):
    return [tuple(pair) for pair in lab.train_merges(counts, n_merges, min_frequency)]


class Id(int):
    """An id that notes how often it is hashed: whoever looks up a pair of ids hashes both of them."""

    hashed = 0

    def __hash__(self):
        Id.hashed += 1
        return int.__hash__(self)


class Totals(defaultdict):
    """A dict that notes how many of its entries were walked through."""

    walked = 0

    def __iter__(self):
        Totals.walked += len(self)
        return super().__iter__()

    def keys(self):
        Totals.walked += len(self)
        return super().keys()

    def values(self):
        Totals.walked += len(self)
        return super().values()

    def items(self):
        Totals.walked += len(self)
        return super().items()


def merges_and_their_work(lab, counts, n_merges):
    """The merges, and what they took: look-ups of pairs, and entries of `totals` walked through. No clock is asked.

    "one count": the look-ups that it takes to count all pairs of the corpus once.
    """
    byte_ids, pair_index = lab.byte_ids, lab.pair_index

    def watched_index(*args):
        totals, where = pair_index(*args)
        return Totals(int, totals), where

    Id.hashed = Totals.walked = 0
    pair_index([[Id(i) for i in byte_ids(piece)] for piece in counts], list(counts.values()))
    one_count, Id.hashed = Id.hashed / 2, 0
    lab.byte_ids, lab.pair_index = (lambda piece: [Id(i) for i in byte_ids(piece)]), watched_index
    try:
        merges = lab.train_merges(counts, n_merges, 1)
    finally:
        lab.byte_ids, lab.pair_index = byte_ids, pair_index
    work = {"one count": one_count, "looked up": Id.hashed / 2, "walked through": Totals.walked}
    return [tuple(map(int, pair)) for pair in merges], work


def encoded(lab, settings, text, *special):
    return lab.BPETokenizer(*settings).encode(text, *special)


def decoded(lab, settings, ids):
    return lab.BPETokenizer(*settings).decode(ids)


def decoded_generator(lab, settings, ids):
    return lab.BPETokenizer(*settings).decode(i for i in ids)


def streamed(lab, settings, texts, *special):
    return list(lab.BPETokenizer(*settings).encode_iterable(texts, *special))


def stream_backlog(lab, settings, texts, *special):
    """The ids, and the most characters that had been read without their ids having come out."""
    tokenizer = lab.BPETokenizer(*settings)
    read = written = backlog = 0

    def parts():
        nonlocal read, backlog
        for text in texts:
            backlog = max(backlog, read - written)  # the next part is asked for: what is still owed of the last ones?
            read += len(text)
            yield text

    ids = []
    for id_ in tokenizer.encode_iterable(parts(), *special):
        ids.append(id_)
        written += len(tokenizer.tokens[id_])  # the text is ASCII: a byte is a character
    return ids, backlog


def stream_peak(lab, settings, text, times):
    """The most memory that streaming `text` so many times takes beyond what was there before, in bytes."""
    tokenizer = lab.BPETokenizer(*settings)

    def stream():
        return sum(1 for _ in tokenizer.encode_iterable("".join(text) for _ in range(times)))

    return peak_of(stream)


def everything(lab, texts, vocab_size, special_tokens, new, parts):
    """A tokenizer trained, and a new text taken to ids and back, at once and in parts."""
    tokenizer = lab.BPETokenizer.train(texts, vocab_size, special_tokens)
    ids = tokenizer.encode(new, "all")
    streamed_ids = list(tokenizer.encode_iterable(parts, "all"))
    files = {"alphabet": list(lab.byte_alphabet().items())}
    return files | {
        "merges": list(tokenizer.merges.items()),
        "special": tokenizer.special_ids,
        "ids": ids,
        "streamed": streamed_ids,
        "text": tokenizer.decode(ids),
    }
