"""Graded checks of lab 5.3, the training loop."""

import torch

from labkit.grading import todo, whole_lab

IGNORE, INF, NAN = -100, float("inf"), float("nan")


def normal(rng, *shape, dtype=torch.float64):
    return torch.from_numpy(rng.standard_normal(shape)).to(dtype)


# ---------------------------------------------------------------- learning rate


@todo("learning-rate")
def test_warm_up(grade, rng):
    """The first update already has a rate above 0, and the last one of the warm-up has the peak."""
    warmup = int(rng.integers(3, 20))
    how = {"peak": float(rng.uniform(1e-4, 1e-2)), "warmup": warmup, "total": warmup + 30, "floor": 1e-5}
    grade("rates", list(range(warmup + 1)), how)
    grade("rates", list(range(warmup + 1)), how | {"decay": 10})


@todo("learning-rate")
def test_cosine(grade, rng):
    """From the peak down to the floor along half a wave; without a warm-up it starts at once."""
    warmup, total = int(rng.integers(1, 9)), int(rng.integers(30, 60))
    how = {"peak": float(rng.uniform(1e-3, 1e-2)), "warmup": warmup, "total": total, "floor": 3e-4}
    grade("rates", list(range(warmup, total)), how, rtol=1e-9, atol=1e-15)
    grade("rates", [0, 1, 7, 29], how | {"warmup": 0, "floor": 0.0}, rtol=1e-9, atol=1e-15)


@todo("learning-rate")
def test_plateau_and_line(grade, rng):
    """With a decay the rate stays at the peak and falls along a straight line over the last updates."""
    decay, total = int(rng.integers(5, 12)), int(rng.integers(30, 60))
    how = {"peak": float(rng.uniform(1e-3, 1e-2)), "warmup": 4, "total": total, "floor": 2e-4, "decay": decay}
    grade("rates", list(range(4, total)), how, rtol=1e-9, atol=1e-15)
    grade("rates", list(range(4, total)), how | {"decay": total - 4}, rtol=1e-9, atol=1e-15)
    grade("rates", list(range(total + 2)), how | {"decay": 0}, rtol=1e-9, atol=1e-15)


@todo("learning-rate")
def test_after_the_end(grade, rng):
    """From `total` on the rate is the floor, also if nothing but warm-up came before."""
    total, floor = int(rng.integers(5, 30)), float(rng.uniform(1e-5, 1e-4))
    how = {"peak": 0.01, "warmup": 3, "total": total, "floor": floor}
    for more in ({}, {"decay": 2}, {"warmup": total}):
        grade("rates", [total - 1, total, total + 1, 3 * total], how | more, rtol=1e-9, atol=1e-15)


# ---------------------------------------------------------------- clipping


@todo("clip-grad-norm")
def test_one_norm_over_everything(grade, rng):
    """All gradients together are one vector; if it is too long, every entry is scaled by the same factor."""
    gradients = [normal(rng, 3, 4), 5 * normal(rng, 6), normal(rng, 2, 2, 2)]
    grade("clip", gradients, 1.0)
    grade("clip", [g.float() for g in gradients], float(rng.uniform(0.5, 3)))


@todo("clip-grad-norm")
def test_short_gradients_are_left_alone(grade, rng):
    """A gradient shorter than max_norm stays as it is; the norm that comes back is that before clipping."""
    gradients = [0.01 * normal(rng, 3, 4), 0.01 * normal(rng, 5)]
    grade("clip", gradients, 1.0)
    grade("clip", [100 * g for g in gradients], 0.3)


@todo("clip-grad-norm", edge=True)
def test_missing_and_zero_gradients(grade, rng):
    """Parameters without a gradient are left out, a gradient of zeros stays zero, and no gradient at all has norm 0."""
    grade("clip", [None, normal(rng, 3), None, normal(rng, 2, 2)], 0.5)
    grade("clip", [torch.zeros(3, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)], 1.0)
    grade("clip_nothing", expected=0.0)


# ---------------------------------------------------------------- accumulation


def text_problem(rng, shapes, vocab_size=7, width=4, ignored=0.0, dtype=torch.float64):
    """Two matrices and micro-batches of these shapes; a share of the targets is not scored."""
    weights = normal(rng, vocab_size, width, dtype=dtype), normal(rng, width, vocab_size, dtype=dtype)
    pieces = []
    for shape in shapes:
        targets = torch.from_numpy(rng.integers(vocab_size, size=shape))
        targets[torch.from_numpy(rng.random(shape) < ignored)] = IGNORE
        targets.view(-1)[0] = 0  # at least one is scored
        pieces.append((torch.from_numpy(rng.integers(vocab_size, size=shape)), targets))
    return weights, pieces


@todo("accumulate", points=2)
def test_equals_the_big_batch(grade, rng):
    """Four equal pieces give the loss and gradients of the whole; a single piece gives its own."""
    weights, pieces = text_problem(rng, [(2, 5)] * 4)
    grade("accumulated", weights, pieces)
    grade("accumulated", weights, pieces[:1])


@todo("accumulate", points=2)
def test_every_token_counts_alike(grade, rng):
    """Pieces of different size, and with different shares of ignored targets: no mean of means."""
    grade("accumulated", *text_problem(rng, [(4, 5), (4, 5), (1, 3)]))
    grade("accumulated", *text_problem(rng, [(3, 4), (2, 6), (3, 2)], ignored=0.5))
    weights, pieces = text_problem(rng, [(2, 3), (2, 3)])
    pieces[0][1].fill_(IGNORE)
    grade("accumulated", weights, pieces)


@todo("accumulate")
def test_adds_to_gradients_and_scales_only_them(grade, rng):
    """Gradients are added to what was there; `scale` multiplies gradients, and not the loss that is returned."""
    weights, pieces = text_problem(rng, [(2, 3), (3, 3)])
    grade("accumulated_onto", weights, pieces)
    grade("accumulated", weights, pieces, None, 1024.0)


@todo("accumulate")
def test_one_graph_at_a_time(grade, rng):
    """The model is called once per piece, and by then the graphs of the pieces before it are gone."""
    weights, pieces = text_problem(rng, [(2, 3), (3, 3), (1, 2)])
    calls = grade.call("pieces_seen", weights, pieces)
    assert len(calls) == 3, f"the model was called {len(calls)} times for 3 micro-batches"
    kept = [call[2] for call in calls]
    assert kept == [0, 0, 0], (
        f"tensors of earlier graphs in memory at each call: {kept}; that is the memory of one batch"
    )
    grade("pieces_seen", weights, pieces)


@todo("accumulate")
def test_autocast_around_the_forward_pass(grade, rng):
    """With a dtype the model runs under autocast of that type; without one it does not; afterwards it is off again."""
    problem = text_problem(rng, [(2, 3), (3, 3)], dtype=torch.float32)
    grade("autocast_seen", *problem, "bfloat16")
    grade("pieces_seen", *problem)


@todo("accumulate", edge=True)
def test_nothing_to_score_is_an_error(grade, rng):
    """A batch without a single scored target is refused instead of giving NaN."""
    weights, pieces = text_problem(rng, [(2, 3), (1, 4)])
    for _, targets in pieces:
        targets.fill_(IGNORE)
    grade("accumulated", weights, pieces, raises=ValueError, match="micro_batches")


# ---------------------------------------------------------------- optimizers


def adamw_options(rng, **more):
    betas = (float(rng.uniform(0.7, 0.95)), float(rng.uniform(0.8, 0.99)))
    return {"lr": float(rng.uniform(0.01, 0.1)), "betas": betas, "eps": 1e-8, "weight_decay": 0.0} | more


@todo("adamw", points=2)
def test_adamw_without_decay(grade, rng):
    """Both averages, corrected for their start, over several updates and parameters."""
    start = normal(rng, 3, 4), normal(rng, 5)
    gradients = [[normal(rng, 3, 4), normal(rng, 5)] for _ in range(4)]
    grade("optimize", "AdamW", start, gradients, [adamw_options(rng)] * 2)
    grade("optimize", "AdamW", [p.float() for p in start], [[g.float() for g in s] for s in gradients], [{}, {}])


@todo("adamw")
def test_adamw_decay_is_decoupled(grade, rng):
    """The decay is λ times the weight itself: it enters neither average and is not divided by √v."""
    start = 3 * normal(rng, 3, 4), normal(rng, 2)
    gradients = [[10 * normal(rng, 3, 4), 0 * normal(rng, 2)] for _ in range(3)]
    grade("optimize", "AdamW", start, gradients, [adamw_options(rng, weight_decay=0.3)] * 2)


@todo("adamw")
def test_adamw_epsilon(grade, rng):
    """ε is added to the root of v̂, after the correction."""
    gradients = [[1e-3 * normal(rng, 4)] for _ in range(3)]
    grade("optimize", "AdamW", [normal(rng, 4)], gradients, [adamw_options(rng, eps=1e-2, weight_decay=0.1)])


@todo("adamw")
def test_adamw_counts_per_parameter(grade, rng):
    """A parameter without a gradient in some update does not move, and its own t stands still."""
    gradients = [[normal(rng, 4), None], [None, normal(rng, 3)], [normal(rng, 4), normal(rng, 3)]]
    grade("optimize", "AdamW", [normal(rng, 4), normal(rng, 3)], gradients, [adamw_options(rng)] * 2)


@todo("adamw")
def test_adamw_keeps_what_it_says(grade, rng):
    """The state is t, m and v, not yet corrected: this is what a checkpoint will hold."""
    grade("averages", normal(rng, 3), [normal(rng, 3) for _ in range(3)], adamw_options(rng, weight_decay=0.2))


@todo("newton-schulz", points=2)
def test_orthogonalize_all_shapes(grade, rng):
    """Wide, square and tall matrices."""
    for shape in ((3, 7), (5, 5), (8, 2)):
        grade("orthogonalize", float(rng.uniform(0.1, 10)) * normal(rng, *shape), atol=1e-5)


@todo("newton-schulz", edge=True)
def test_orthogonalize_on_the_shorter_side(grade, rng):
    """A = X Xᵀ is as wide as the shorter side of the matrix, whichever side that is."""
    for shape in ((3, 60), (60, 3)):
        largest = grade.call("largest_tensor", normal(rng, *shape))
        assert largest < 60 * 60, f"for a matrix of shape {shape} a tensor of {largest:,} entries was made"


@todo("newton-schulz")
def test_orthogonalize_rounds(grade, rng):
    """As many rounds as asked for; with none the matrix is only divided by its norm."""
    matrix = normal(rng, 4, 6)
    for rounds in (0, 1, 2, 8):
        grade("orthogonalize", matrix, rounds, atol=1e-5)


@todo("newton-schulz")
def test_orthogonalize_singular_values(grade, rng):
    """Singular vectors stay, singular values go towards 1, also where one is a hundredth of another."""
    u, _ = torch.linalg.qr(normal(rng, 6, 6))
    v, _ = torch.linalg.qr(normal(rng, 9, 6))
    values = torch.tensor([1.0, 0.7, 0.5, 0.3, 0.1, 0.03], dtype=torch.float64)
    matrix = u * values @ v.mT
    out = grade("orthogonalize", matrix, atol=1e-5)
    aligned = torch.einsum("mi,mn,ni->i", u, out, v)
    assert (aligned > 0.4).all() and (aligned < 1.3).all(), f"singular values after 5 rounds: {aligned.tolist()}"


@todo("newton-schulz", edge=True)
def test_orthogonalize_zeros_and_dtypes(grade, rng):
    """A matrix of zeros stays zero instead of becoming NaN; float32 gives float32, bfloat16 gives bfloat16."""
    zeros = torch.zeros(3, 5, dtype=torch.float64)
    assert not grade.call("orthogonalize", zeros).isnan().any(), "a matrix of zeros became NaN: 0 was divided by 0"
    grade("orthogonalize", zeros)
    matrix = normal(rng, 4, 6)
    grade("orthogonalize", matrix.float(), atol=1e-4)
    dtype = grade.call("orthogonalize", matrix.bfloat16()).dtype
    assert dtype == torch.bfloat16, f"a bfloat16 matrix gave {dtype}"


# ---------------------------------------------------------------- loss scaling


@todo("loss-scaler", points=2)
def test_gradients_are_divided(grade, rng):
    """Every gradient is divided by the scale it was made with, whatever the scale will be next."""
    gradients = [4096 * normal(rng, 3, 4), None, 4096 * normal(rng, 5)]
    grade("scaling", [gradients], {"scale": 4096.0})
    grade("scaling", [gradients, gradients], {"scale": 512.0, "interval": 1})


@todo("loss-scaler", points=2)
def test_overflow_anywhere_is_found(grade, rng):
    """One inf or NaN in any gradient means overflow; every gradient is divided all the same."""
    for value, place in ((INF, 0), (-INF, 1), (NAN, 2)):
        gradients = [normal(rng, 8), normal(rng, 2, 3), normal(rng, 9)]
        gradients[place].view(-1)[int(rng.integers(4))] = value
        grade("scaling", [gradients], {"scale": 8.0})


@todo("loss-scaler")
def test_scale_grows_after_an_interval(grade, rng):
    """`interval` finite updates in a row make the scale grow, then counting starts anew."""
    grade("scales", [False] * 10, {"scale": 4.0, "interval": 3})
    grade("scales", [False] * 7, {"scale": 4.0, "interval": 2, "growth": 3.0})


@todo("loss-scaler")
def test_overflow_starts_the_count_anew(grade, rng):
    """An overflow shrinks the scale at once, by backoff, and the interval begins again."""
    overflows = [bool(x) for x in rng.random(24) < 0.25]
    grade("scales", [False, True, False, False, True, True, *overflows], {"scale": 2.0**10, "interval": 2})
    grade("scales", [False, True, False, False, False], {"scale": 100.0, "interval": 3, "backoff": 0.1, "growth": 5.0})


# ---------------------------------------------------------------- recomputation


def block_problem(rng, dtype=torch.float64):
    """up, down, x, d_out"""
    shapes = ((4, 6), (6, 5), (2, 3, 4), (2, 3, 5))
    return [normal(rng, *shape, dtype=dtype) for shape in shapes]


@todo("recompute", points=2)
def test_same_gradients(grade, rng):
    """The gradients of x and of the block's weights are those of running the block as usual; no .grad is touched."""
    grade("rerun", *block_problem(rng))
    grade("rerun", *block_problem(rng, torch.float32))


@todo("recompute")
def test_dropout_draws_the_same_mask(grade, rng):
    """The second run drops what the first one dropped, and random numbers go on afterwards as if it had not been."""
    grade("rerun", *block_problem(rng), 0.5)


@todo("recompute")
def test_input_that_needs_no_gradient(grade, rng):
    """The first block of a network has an input without a gradient; its weights have one all the same."""
    grade("rerun", *block_problem(rng), 0.0, False)


@todo("recompute")
def test_blocks_in_a_row(grade, rng):
    """Each block is one node: what comes before and after it is not its business, nor that it comes twice."""
    up, down = normal(rng, 5, 6), normal(rng, 6, 5)
    grade("chain", up, down, normal(rng, 3, 5), normal(rng, 3, 5))


@todo("recompute")
def test_second_run_under_the_same_autocast(grade, rng):
    """If the forward pass ran under autocast, so does the second run, although backward() is called outside."""
    grade("rerun", *block_problem(rng, torch.float32), 0.0, True, "bfloat16", atol=0.02, rtol=0.02)


# ---------------------------------------------------------------- checkpoints


@todo("save-checkpoint", points=2, cuda=False)
def test_current_and_previous(grade, rng):
    """After each save the new state stands at path, the one before it beside it, and no temporary file is left."""
    grade("saved_files", int(rng.integers(3, 6)), 0)
    grade("saved_files", 2, int(rng.integers(10_000, 50_000)))


@todo("save-checkpoint", points=2, cuda=False)
def test_crash_between_any_two_calls(grade, rng):
    """Wherever the process dies during a save, the old state or the new one can be loaded."""
    found = grade.call("crash_everywhere", "good")
    assert any(name in ("replace", "rename") for name, _ in found), (
        "nothing was renamed: how does path get its new bytes?"
    )
    for name, number in found:
        assert number in (2, 3), f"a crash just before os.{name}: expected state 2 or 3 to load, got {number}"


@todo("save-checkpoint", points=2, cuda=False)
def test_crash_in_the_middle_of_writing(grade, rng):
    """If only half of the bytes get written, the last complete state is still the current one."""
    number = grade.call("crash_while_writing")
    assert number in (2, 3), f"half of state 3 was written over states 1 and 2: expected state 2 to load, got {number}"


@todo("save-checkpoint", points=2, cuda=False)
def test_damaged_file_takes_nobodys_place(grade, rng):
    """If the current file is damaged and the previous one intact, no crash in the next save loses the intact one."""
    damage = [("cut", float(rng.uniform(0.1, 0.9))), ("flip", float(rng.uniform(0.1, 0.9)))][int(rng.integers(2))]
    found = grade.call("crash_everywhere", damage)
    assert found, "save_checkpoint made no call that could be interrupted"
    for name, number in found:
        assert number in (1, 3), f"a crash just before os.{name}: expected state 1 or 3 to load, got {number}"


@todo("save-checkpoint", points=1, cuda=False)
def test_synced_before_renamed(grade, rng):
    """All bytes are synced before the file gets its name, and the folder is synced afterwards: power may fail."""
    found = grade.call("order_of_calls")
    assert "renamed to path" in found, f"path never got its name by a rename: {found}"
    last = len(found) - 1 - found[::-1].index("renamed to path")
    assert "bytes synced" in found[:last], f"the new file was renamed before all its bytes were synced: {found}"
    assert "folder synced" in found[last:], f"the folder was not synced after the last rename: {found}"


def some_damage(rng):
    share = float(rng.uniform(0.0, 0.99))
    return [("cut", share), ("flip", share), ("grow", 0.0), ("empty", 0.0), ("text", 0.0)]


@todo("load-checkpoint", points=2, cuda=False)
def test_newest_intact_state(grade, rng):
    """The current file if it is intact; the previous one if the current one is missing or damaged in whatever way."""
    grade("loaded", "good", "good")
    grade("loaded", "good", "missing")
    grade("loaded", "missing", "good")
    for how in some_damage(rng):
        grade("loaded", how, "good")
        grade("loaded", "good", how)


@todo("load-checkpoint", cuda=False)
def test_nothing_to_load(grade, rng):
    """No file at all is a FileNotFoundError; files of which none is intact are a CorruptCheckpoint."""
    grade("loaded", "missing", "missing")
    for how in some_damage(rng)[:3]:
        grade("loaded", how, "missing")
        grade("loaded", "missing", how)
        grade("loaded", how, how)


# ---------------------------------------------------------------- the trainer


def run_problem(rng):
    return (normal(rng, 9, 5), 0.5 * normal(rng, 5, 9)), torch.from_numpy(rng.integers(9, size=400))


def same_updates(found):
    for step, (wanted, got) in enumerate(zip(found["uninterrupted"], found["resumed"])):
        for what in wanted:
            a, b = wanted[what], got[what]
            assert a == b, f"{step + 1} updates after resuming, {what}: {b}, uninterrupted: {a}"
    assert len(found["uninterrupted"]) == len(found["resumed"]), "the resumed run has another number of updates"


@todo("resumable-parts", points=3, cuda=False)  # bit by bit: some CUDA kernels add in no fixed order
def test_resumed_run_is_the_same_run(grade, rng):
    """Stopped, saved, loaded into a new trainer: all losses, norms, rates and decisions that follow are the same."""
    weights, ids = run_problem(rng)
    same_updates(grade("interrupted", weights, ids, int(rng.integers(4, 7)), 12, True, True, rtol=1e-6))


@todo("resumable-parts", cuda=False)
def test_without_scaler_or_guard(grade, rng):
    """A trainer without scaler or guard has no such part, and resumes as well."""
    weights, ids = run_problem(rng)
    same_updates(grade("interrupted", weights, ids, 2, 5, False, False, rtol=1e-6))
    grade("names_of_parts", weights, ids)


# ---------------------------------------------------------------- the whole lab


@whole_lab(points=4)
def test_crash_resume_and_finish(grade, rng):
    """Your trainer with your optimizer, your recomputation and your checkpoints dies inside a save and goes on."""
    grade("everything", *run_problem(rng), rtol=1e-5, atol=1e-8)
