"""Graded checks of lab 5.2, nanoGPT."""

import numpy as np
import torch

from labkit.grading import todo, whole_lab

# ---------------------------------------------------------------- optimizer groups


@todo("optimizer-groups")
def test_matrices_decay_and_vectors_do_not(grade, rng):
    """Matrices and tables get the weight decay; gains, biases and other vectors get 0."""
    grade("groups", ["matrix", "vector", "table", "cube", "scalar"], float(rng.uniform(0.01, 0.2)))
    grade("groups", ["vector", "vector", "matrix"], float(rng.uniform(0.01, 0.2)))
    grade("groups", ["matrix", "table"], float(rng.uniform(0.01, 0.2)))


@todo("optimizer-groups")
def test_a_name_says_nothing(grade, rng):
    """A matrix called bias and a vector called weight: the shape decides."""
    grade("groups", ["matrix", "vector", "matrix", "vector"], 0.1, ["bias", "weight", "norm", "embedding"])


@todo("optimizer-groups", edge=True)
def test_shared_and_frozen(grade, rng):
    """A shared matrix stands in the groups once; a frozen parameter does not stand there."""
    grade("groups_of_a_tied_model", 0.1)


# ---------------------------------------------------------------- pack


def documents_of(rng, count, vocab_size, longest=9):
    return [rng.integers(vocab_size, size=rng.integers(1, longest)).tolist() for _ in range(count)]


@todo("pack")
def test_an_end_after_every_document(grade, rng):
    """Documents in their order, and the end-of-text id after each of them, the last one included."""
    grade("pack", documents_of(rng, 6, 300), 300, 301)
    grade("pack", [[5, 6], [], [7]], 8, 9)


@todo("pack")
def test_narrowest_type(grade, rng):
    """Two bytes per id as long as all ids fit, which they do for up to 65,536 of them; else four."""
    for vocab_size in (301, 2**16 - 1, 2**16, 2**16 + 1, 150_000):
        ids = [*documents_of(rng, 3, vocab_size), [vocab_size - 2]]
        grade("pack", ids, vocab_size - 1, vocab_size)


@todo("pack")
def test_an_id_that_does_not_fit(grade, rng):
    """An id outside the vocabulary is an error, and not some other token."""
    good = documents_of(rng, 3, 300)
    for wrong in (2**16 + 5, 300, -1):
        grade("pack", [*good, [4, wrong, 4]], 299, 300, raises=ValueError, match="documents")
    grade("pack", good, 299, 300)


@todo("pack")
def test_documents_are_read_once(grade, rng):
    """`documents` may be a generator, and of arrays; without any document the row is empty."""
    grade("packed_from_a_generator", documents_of(rng, 5, 300), 300, 301)
    grade("pack", [], 7, 8)


# ---------------------------------------------------------------- random crops


def row_of(rng, *lengths, dtype=np.uint16):
    """Shards in which every id occurs once, so that a crop tells where it comes from."""
    order = rng.permutation(sum(lengths)).astype(dtype)
    return np.split(order, np.cumsum(lengths)[:-1])


@todo("random-crops")
def test_inputs_and_targets(grade, rng):
    """Each row is a window of a shard; its targets are the same window, one place later; int64 in the shape (B, T)."""
    shards, batch, length = row_of(rng, 60, 45), int(rng.integers(3, 7)), int(rng.integers(4, 9))
    for inputs, targets in grade.call("crops", shards, batch, length, int(rng.integers(99)), 3):
        for name, tensor in (("inputs", inputs), ("targets", targets)):
            assert tensor.dtype == torch.int64, f"{name} should be int64, which embeddings want, and are {tensor.dtype}"
            assert tuple(tensor.shape) == (batch, length), (
                f"{name} should have the shape {(batch, length)}, not {tuple(tensor.shape)}"
            )
        rows = torch.cat([inputs, targets[:, -1:]], dim=1)
        for row, later in zip(rows.tolist(), targets.tolist()):
            assert row[1:] == later, f"the targets {later} are not the inputs {row[:-1]} one place later"
            if not is_window(row, shards):
                assert not is_window(row, [np.concatenate(shards)]), f"{row} run from one shard into the next"
                raise AssertionError(f"{row} are not consecutive ids of a shard")
    devices = grade.call("crop_devices", shards, batch, length)
    assert devices == ["meta", "meta"], f"inputs and targets should be on self.device, and are on {devices}"


def is_window(row, shards):
    for shard in (shard.tolist() for shard in shards):
        if row[0] in shard:
            start = shard.index(row[0])
            return shard[start : start + len(row)] == row
    return False


@todo("random-crops")
def test_batches_differ_and_can_be_drawn_again(grade, rng):
    """Batch n is always the same batch, other batches and other seeds are others."""
    shards, seed = row_of(rng, 400), int(rng.integers(99))
    first, again, resumed, other, drawn = grade.call("crops_again", shards, 8, 6, seed)
    assert torch.equal(first[0], again[0]) and torch.equal(first[3], again[3]), (
        "the same seed gave other batches: draw with `rng`, which knows the seed and the number of the batch"
    )
    assert torch.equal(first[2], resumed), "after load_state_dict the next batch is not the one that was next"
    assert not torch.equal(first[0], first[1]), "two batches in a row are the same"
    assert drawn == {"drawn": 2}, f"after two batches the state should be {{'drawn': 2}}, and is {drawn}"
    assert not torch.equal(first[0], other), "another seed gave the same batch"
    assert len({tuple(row) for row in first[0].tolist()}) > 1, "all rows of a batch are the same window"


@todo("random-crops")
def test_every_window_is_equally_likely(grade, rng):
    """All places of all shards are drawn equally often: also the last of each, and long shards more than short ones."""
    lengths, length = (9, 7, 16, 5), 4
    shards = row_of(rng, *lengths)
    first = {int(shard[i]): (n, i) for n, shard in enumerate(shards) for i in range(len(shard) - length)}
    drawn = grade.call("crops", shards, 64, length, int(rng.integers(99)), 30)
    batches = [[first.get(row) for row in inputs[:, 0].tolist()] for inputs, _ in drawn]
    places = [place for batch in batches for place in batch]
    assert None not in places, "a window begins where fewer than length + 1 ids of its shard are left"
    mixed = any(len({n for n, _ in batch}) > 1 for batch in batches)
    assert mixed or len({n for n, _ in places}) == 1, "all crops of a batch come from the same shard"
    counts = {place: places.count(place) for place in first.values()}
    ends = {n: len(shard) - length - 1 for n, shard in enumerate(shards) if len(shard) > length + 1}
    assert any(counts[end] for end in ends.items()), (
        f"of {len(places)} crops none begins at the last place of a shard: {lengths[0]} ids have {lengths[0] - length} "
        f"windows of {length} + 1"
    )
    wanted = len(places) / len(counts)  # 91 each; standard deviation 9
    share = {n: sum(counts[n, i] for m, i in counts if m == n) / (size - length) for n, size in enumerate(lengths)}
    for n, found in share.items():
        assert found > 0, f"no crop comes from shard {n}: shards of {lengths} ids, windows of {length} + 1"
    for n, found in share.items():
        assert 0.5 * wanted < found < 1.6 * wanted, (
            f"the shards of {lengths} ids have {len(counts)} windows of {length} + 1, so each should come some "
            f"{wanted:.0f} times; those of shard {n} come {found:.0f} times"
        )
    for (shard, place), count in counts.items():
        assert 0.4 * wanted < count < 1.7 * wanted, (
            f"of {len(places)} crops {count} begin at place {place} of shard {shard}; {wanted:.0f} would be its share, "
            f"for the shards of {lengths} ids have {len(counts)} places for windows of {length} + 1"
        )


@todo("random-crops")
def test_wide_ids_and_files(grade, rng):
    """Ids of 32 bits keep their value, and shards may be files that are looked at where a crop lies, not read whole."""
    shards = [(shard.astype(np.uint32) + np.uint32(100_000)) for shard in row_of(rng, 50)]
    found = grade.call("crops", shards, 4, 5, 1, 1)[0][0]
    assert int(found.min()) >= 100_000, f"ids of 100,000 and more became {int(found.min())}"
    bytes_, of = grade.call("crop_memory", 400_000, 4, 8)
    assert bytes_ < of / 4, f"a batch of 4 x 8 tokens took {bytes_:,} bytes from a file of {of:,}: slice, then copy"


# ---------------------------------------------------------------- fixed windows


@todo("fixed-windows")
def test_spread_over_the_text(grade, rng):
    """Windows number 0, W/count, 2W/count ...: from the beginning to the end of the text, and disjoint."""
    grade("fixed_windows", rng.permutation(96).astype(np.uint16), 5, 4)  # no two wrong rules agree on these numbers
    for _ in range(4):
        length, count = int(rng.integers(3, 8)), int(rng.integers(2, 6))
        ids = rng.permutation(int(rng.integers(count * length + 1, 12 * count * length))).astype(np.uint16)
        grade("fixed_windows", ids, count, length)
    ids = rng.permutation(30 * 4 + 2).astype(np.uint16)  # 11 · (30 / 22) is 14.999999999999998 in floating point
    grade("fixed_windows", ids, 22, 4)


@todo("fixed-windows")
def test_as_many_as_fit(grade, rng):
    """A text of n · length + 1 ids holds n windows: neighbours share one id. One more is an error."""
    length, count = int(rng.integers(3, 8)), int(rng.integers(2, 6))
    ids = rng.permutation(count * length + 1).astype(np.int64)
    grade("fixed_windows", ids, count, length)
    grade("fixed_windows", ids, count + 1, length, raises=ValueError, match="count")
    grade("fixed_windows", ids[:-1], count, length, raises=ValueError, match="count")


@todo("fixed-windows")
def test_the_same_every_time(grade, rng):
    """Two calls give the same windows: a difference between two losses then comes from the model."""
    ids = rng.permutation(300).astype(np.uint32) + np.uint32(70_000)
    first, second = grade.call("windows_twice", ids, 5, 7)
    assert torch.equal(first, second), "two calls with the same text gave different windows"
    grade("windows_twice", ids, 5, 7)


# ---------------------------------------------------------------- estimate loss


def table(rng, vocab_size=9):
    return torch.from_numpy(2 * rng.standard_normal((vocab_size, vocab_size)))


def windows_of(rng, count, length, vocab_size=9):
    return torch.from_numpy(rng.integers(vocab_size, size=(count, length + 1)))


@todo("estimate-loss")
def test_mean_over_all_tokens(grade, rng):
    """The mean over every predicted token, also when the last batch is smaller than the others."""
    weights = table(rng)
    grade("estimated", weights, windows_of(rng, 6, 5), 3, rtol=1e-5)
    grade("estimated", weights, windows_of(rng, 7, 4), 6, rtol=1e-5)
    grade("estimated", weights, windows_of(rng, 5, 6), 100, rtol=1e-5)


@todo("estimate-loss")
def test_batches_as_they_were_ordered(grade, rng):
    """The model gets `batch` windows at a time, without their last ids, and no graph is built."""
    calls = grade.call("estimation_seen", table(rng), windows_of(rng, 7, 4), 3, None)
    seen = sum(call[0][0] for call in calls)
    assert seen == 7, f"there are 7 windows, and the model got {seen} of them"
    assert len(calls) > 1, f"the model got all {seen} windows at once, not 3 at a time"
    assert [call[0] for call in calls] == [(3, 4), (3, 4), (1, 4)], (
        f"7 windows of 4 + 1 ids, 3 at a time: the model got inputs of the shapes {[call[0] for call in calls]}"
    )
    assert not any(call[1] for call in calls), "gradients were on while the loss was measured"


@todo("estimate-loss")
def test_eval_mode_and_back(grade, rng):
    """Dropout is off while the loss is measured; afterwards the model is in the mode it was in, whichever that was."""
    weights, windows = table(rng), windows_of(rng, 6, 5)
    for training in (True, False):
        found = grade.call("modes", weights, windows, 2, training)
        name = {True: "training", False: "eval"}
        assert not any(found["in between"]), "the model was in training mode while the loss was measured: dropout is on"
        assert found["afterwards"] is training, (
            f"the model came in {name[training]} mode and was left in {name[not training]} mode"
        )
        grade("modes", weights, windows, 2, training, rtol=1e-5)


@todo("estimate-loss")
def test_autocast(grade, rng):
    """The model runs under autocast when a dtype is given, and only then; the nats are added up in full precision."""
    weights, windows = table(rng).float(), windows_of(rng, 5, 6)
    for name in ("bfloat16", "float16", None):
        calls = grade.call("estimation_seen", weights, windows, 2, name)
        wanted = f"torch.{name}" if name else "off"
        assert all(call[2] == wanted for call in calls), f"autocast should be {wanted}, and was {calls[0][2]}"
    grade("estimated", weights, windows, 2, rtol=1e-4)
    grade("estimated", weights, windows, 5, "bfloat16", rtol=1e-4)


# ---------------------------------------------------------------- keep


@todo("keep")
def test_best_only_when_better(grade, rng):
    """last.ckpt follows every evaluation, best.ckpt only the improvements."""
    grade("kept", [3.0, 2.5, 2.7, 2.6, 2.4, 2.45])
    grade("kept", (2 + rng.standard_normal(8)).tolist())


@todo("keep", edge=True)
def test_equal_and_nan(grade, rng):
    """An equal loss is no improvement, and NaN never is one."""
    nan = float("nan")
    grade("kept", [2.0, 2.0, 3.0])
    found = grade.call("kept", [2.0, nan, 1.5, nan])
    best, last = [step["best_step"] for step in found], [step["last_step"] for step in found]
    assert last == [0, 1, 2, 3], f"last.ckpt follows every evaluation, also of NaN; it holds {last}, not 0, 1, 2, 3"
    assert 1 not in best and 3 not in best, f"losses 2, NaN, 1.5, NaN: NaN counts as lower, best.ckpt holds {best}"
    assert best == [0, 0, 2, 2], (
        f"losses 2, NaN, 1.5, NaN: best.ckpt should hold evaluation 0, 0, 2, 2, and after the NaN it holds {best}"
    )
    assert [step["lowest"] for step in found] == [2.0, 2.0, 1.5, 1.5], (
        f"the lowest loss should be 2, 2, 1.5, 1.5, and is {[step['lowest'] for step in found]}"
    )


@todo("keep")
def test_a_crash_between_the_two_files(grade, rng):
    """Killed after the first file, resumed, evaluated again: best.ckpt is the best one."""
    found = grade.call("crash_between", float(rng.uniform(1, 2)))
    assert found["best_step"] == 1, (
        "evaluation 1 was better; the run was killed between the two writes, resumed from last.ckpt, and did "
        f"evaluation 1 again: but best.ckpt holds evaluation {found['best_step']}"
    )


@todo("keep")
def test_the_state_is_left_alone(grade, rng):
    """The dict that comes in is not changed: it is the trainer's."""
    grade("kept_state", float(rng.uniform(1, 2)), float(rng.uniform(2, 3)))


# ---------------------------------------------------------------- write


def bigrams(rng, vocab_size=8, sharpness=1.5):
    """Logits of the next token after each token; nothing leads to token 0, the end, unless it is added."""
    weights = torch.from_numpy(sharpness * rng.standard_normal((vocab_size, vocab_size)))
    weights[:, 0] = -30.0
    return weights


@todo("write")
def test_greedy(grade, rng):
    """Temperature 0 takes the likeliest token again and again; neither prompt nor end comes back."""
    weights = bigrams(rng)
    grade("written", weights, [int(rng.integers(1, 8))], 2, 6, 0, 0.0, 1)
    weights[3] = weights[5] = -30.0
    weights[5, 3], weights[3, 0] = 5.0, 5.0  # 5 -> 3 -> end
    grade("written", weights, [4, 5], 2, 6, 0, 0.0, 1)


@todo("write")
def test_temperature(grade, rng):
    """Logits are divided by the temperature; all rows of the batch are drawn at once, with the given generator."""
    weights = bigrams(rng)
    for temperature in (1.0, 0.6, 1.9):
        grade("written", weights, [2, 1], 5, 12, 0, temperature, int(rng.integers(1000)))


@todo("write")
def test_rows_end_one_by_one(grade, rng):
    """Each row is cut at its first end; the others go on, and what an ended row draws meanwhile is dropped."""
    weights = bigrams(rng, sharpness=0.5)
    weights[:, 0] = 0.0
    grade("written", weights, [1], 7, 15, 0, 1.0, int(rng.integers(1000)))
    grade("written", weights, [0, 3], 7, 15, 0, 1.0, int(rng.integers(1000)))


@todo("write")
def test_stops_when_all_have_ended(grade, rng):
    """No token is computed after the last row has ended, and no more than n_new are."""
    weights = bigrams(rng)
    weights[:, 0] = 40.0
    calls = grade.call("calls_of_write", weights, [1, 2], 3, 20, 0)
    assert len(calls) == 1, f"all rows ended with the first token, and the model was called {len(calls)} times"
    calls = grade.call("calls_of_write", bigrams(rng), [1, 2], 3, 9, 0)
    assert len(calls) == 9, f"n_new = 9 and no row ended: the model was called {len(calls)} times"
    weights = bigrams(rng, sharpness=0.3)
    weights[:, 0] = 1.0  # each row ends after some four tokens, three rows hardly ever at once
    grade("number_of_calls", weights, [1, 2], 3, 60, 0)


@todo("write")
def test_reads_the_last_block(grade, rng):
    """When the text is longer than block_size, the model reads the last block_size tokens; it is in eval mode."""
    calls = grade.call("calls_of_write", bigrams(rng), [1, 2, 3], 2, 6, 0)
    shapes = [call[0] for call in calls]
    assert shapes == [(2, 3), (2, 4), (2, 4), (2, 4), (2, 4), (2, 4)], (
        f"block_size 4, a prompt of 3, two rows: the model should read 3, 4, 4 ... tokens a row, and read {shapes}"
    )
    assert not any(call[1] for call in calls), "the model was in training mode: dropout draws other words"
    grade("written", bigrams(rng), [1, 2, 3], 2, 12, 0, 1.0, 5, 4)
    for training in (True, False):
        grade("mode_after_writing", bigrams(rng), training)


# ---------------------------------------------------------------- power law


@todo("fit-power-law")
def test_recovers_the_law(grade, rng):
    """Points on a power law above a floor give back its factor and exponent."""
    factor, exponent, floor = rng.uniform(5, 30), rng.uniform(0.1, 0.35), round(rng.uniform(0.2, 2), 2)
    sizes = [float(n) for n in np.sort(rng.integers(1_000, 10_000_000, size=5))]
    above = [round(factor * n**-exponent, 5) for n in sizes]
    grade("fit_power_law", sizes, [round(floor + distance, 5) for distance in above], floor, rtol=1e-3, atol=1e-6)
    grade("fit_power_law", sizes, above, 0.0, rtol=1e-3, atol=1e-6)


@todo("fit-power-law")
def test_noisy_points(grade, rng):
    """Least squares in the logarithms, whatever the order of the points, and integers as well as floats."""
    sizes = rng.permutation([1_000, 4_000, 16_000, 64_000, 256_000]).tolist()
    losses = [round(0.5 + 9 * n**-0.3 * float(np.exp(0.1 * rng.standard_normal())), 5) for n in sizes]
    grade("fit_power_law", sizes, losses, 0.5, rtol=1e-3, atol=1e-6)
    grade("fit_power_law", sizes[:2], losses[:2], 0.25, rtol=1e-3, atol=1e-6)


# ---------------------------------------------------------------- everything


@whole_lab(points=2)
def test_prepare_train_and_write(grade, rng):
    """Documents to shards, a small run that is stopped and resumed, the best checkpoint, and a few words from it."""
    words = [rng.integers(1, 5, size=rng.integers(12, 25)).tolist() for _ in range(40)]
    grade("small_run", words, int(rng.integers(99)), rtol=1e-6, atol=1e-7)
