"""What runs beside the learner's code: tokenizer objects are built here, plain values go back.

`settings` are the arguments a word tokenizer is made with: vocab, special_tokens, form.
"""


def vocab_head(lab, pieces, special_tokens):
    vocab = lab.build_vocab(pieces, 1, special_tokens)
    return vocab[: len(special_tokens)] if isinstance(vocab, list) else vocab


def vocab_of_generator(lab, pieces, min_freq, special_tokens):
    return lab.build_vocab((piece for piece in pieces), min_freq, special_tokens)


def encode_words(lab, kind, settings, text):
    return getattr(lab, kind)(*settings).encode(text)


def decode_words(lab, kind, settings, ids):
    return getattr(lab, kind)(*settings).decode(ids)


def decode_words_of_generator(lab, kind, settings, ids):
    return getattr(lab, kind)(*settings).decode(i for i in ids)


def decode_words_with_both(lab, settings, ids):
    return [kind(*settings).decode(ids) for kind in (lab.WhitespaceTokenizer, lab.RegexTokenizer)]


def encode_bytes(lab, text, form):
    return lab.ByteLevelTokenizer(form).encode(text)


def encode_lone_surrogate(lab, kind, before, after):
    text = before + "\ud83d" + after
    tokenizer = lab.ByteLevelTokenizer() if kind == "ByteLevelTokenizer" else getattr(lab, kind)(["<unk>"])
    return tokenizer.encode(text)


def decode_bytes(lab, ids):
    return lab.ByteLevelTokenizer().decode(ids)


def decode_several(lab, rows):
    return [lab.ByteLevelTokenizer().decode(ids) for ids in rows]


def stream_chunks(lab, ids):
    return list(lab.ByteLevelTokenizer().stream(ids))


def stream_joined(lab, ids):
    return "".join(lab.ByteLevelTokenizer().stream(ids))


def stream_as_written(lab, ids):
    """Every chunk with the number of ids that had been read when it came."""
    read = 0

    def model():
        nonlocal read
        for i in ids:
            read += 1
            yield i

    return [(read, chunk) for chunk in lab.ByteLevelTokenizer().stream(model())]


def good_characters_as_written(lab, ids):
    """Every character but U+FFFD with the number of ids that had been read when it came."""
    return [(read, c) for read, chunk in stream_as_written(lab, ids) for c in chunk if c != "\N{REPLACEMENT CHARACTER}"]


def everything(lab, texts, text, training):
    """Both word tokenizers trained (training: min_freq, special_tokens, form), and all three taken to ids and back."""
    trained = [kind.train(texts, *training) for kind in (lab.WhitespaceTokenizer, lab.RegexTokenizer)]
    outcome = {}
    for tokenizer in [*trained, lab.ByteLevelTokenizer(training[-1])]:
        ids = tokenizer.encode(text)
        outcome[type(tokenizer).__name__] = [tokenizer.vocab_size, ids, tokenizer.decode(ids)]
    outcome["stream"] = list(lab.ByteLevelTokenizer().stream(ids))
    return outcome
