"""What runs beside the learner's code: tokenizer objects are built here, plain values go back."""


def vocab_of_generator(lab, pieces, min_freq, special_tokens):
    return lab.build_vocab((piece for piece in pieces), min_freq, special_tokens)


def encode_words(lab, kind, vocab, special_tokens, form, text):
    return getattr(lab, kind)(vocab, special_tokens, form).encode(text)


def decode_words(lab, kind, vocab, special_tokens, ids):
    return getattr(lab, kind)(vocab, special_tokens).decode(ids)


def decode_words_with_both(lab, vocab, special_tokens, ids):
    tokenizers = [lab.WhitespaceTokenizer(vocab, special_tokens), lab.RegexTokenizer(vocab, special_tokens)]
    return [tokenizer.decode(ids) for tokenizer in tokenizers]


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


def everything(lab, texts, text, min_freq, special_tokens, form):
    """Both word tokenizers trained, and all three taken to ids and back."""
    trained = [
        lab.WhitespaceTokenizer.train(texts, min_freq, special_tokens, form),
        lab.RegexTokenizer.train(texts, min_freq, special_tokens, form),
    ]
    outcome = {}
    for tokenizer in [*trained, lab.ByteLevelTokenizer(form)]:
        ids = tokenizer.encode(text)
        outcome[type(tokenizer).__name__] = [tokenizer.vocab_size, ids, tokenizer.decode(ids)]
    outcome["stream"] = list(lab.ByteLevelTokenizer().stream(ids))
    return outcome
