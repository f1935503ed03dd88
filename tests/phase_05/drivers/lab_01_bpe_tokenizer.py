"""What runs beside the learner's code: tokenizers are built here, plain values go back.

`settings` are what a tokenizer is made of: its merges, as pairs of ids, and its special tokens.
"""

import sys
import time
import tracemalloc


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


def merges_and_their_price(lab, counts, n_merges):
    """The merges, and the time they took in units of one count of all pairs: the better of two attempts."""
    clock = (
        time.perf_counter if sys.platform == "win32" else time.process_time
    )  # Windows counts CPU time in 16 ms steps
    words = [lab.byte_ids(piece) for piece in counts]
    prices = []
    for _ in range(2):
        start = clock()
        lab.pair_index(words, list(counts.values()))
        one_count = clock() - start
        start = clock()
        merges = lab.train_merges(counts, n_merges, 1)
        prices.append((clock() - start) / one_count)
    return [tuple(pair) for pair in merges], min(prices)


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

    stream()  # a first run fills the cache and imports what it needs
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        count = stream()
        return count, tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


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
