"""The reference of lab 5.3 against torch's optimizers, clipping, scaler and checkpoint; and the kill -9 proof."""

from __future__ import annotations

import copy
import itertools
import json
import math
import os
import random
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from labkit.reference.training_loop.window_lm import MarkovSource, TokenBatches, WindowLM
from torch import nn
from torch.nn import functional as F

from labkit.catalogue import find
from labkit.reference import training_loop as lab
from labkit.reference.training_loop import kill_and_resume, training_report

HYPOTHESIS = settings(deadline=None, derandomize=True, max_examples=40)
FOLDER = find("5.3").path


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---------------------------------------------------------------- the proof


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_nine_twenty_times():
    """20 deaths by SIGKILL, some inside a save or halfway through a write: every loss and the last bit are the same."""
    command = [
        sys.executable,
        FOLDER / "kill_and_resume.py",
        FOLDER / "solution.py",
        "--kills",
        "20",
        "--seed",
        "0",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] == 20
    assert found["inside_a_save"] >= 4
    assert found["half_written_files"] >= 2
    assert found["finished"] and found["same_end"]
    assert (found["updates"], found["different_losses"]) == (120, 0)
    assert found["updates_done_again"] > 0  # some work was lost, and done again to the bit


def test_the_proof_can_fail(tmp_path, monkeypatch):
    """The comparison is sharp: a trainer that forgets its random state gives other losses after a kill."""

    def forgetful(self):
        return {name: part for name, part in parts(self).items() if name != "random"}

    parts = lab.Trainer.parts
    peace = [u.loss for u in kill_and_resume.new_trainer(lab, 20).train(12)]
    for remembers in (True, False):
        monkeypatch.setattr(lab.Trainer, "parts", parts if remembers else forgetful)
        first = kill_and_resume.new_trainer(lab, 20)
        losses = [u.loss for u in first.train(6, tmp_path / "x.pt")]
        resumed = kill_and_resume.new_trainer(lab, 20)
        resumed.load_state_dict(lab.load_checkpoint(tmp_path / "x.pt"))
        losses += [u.loss for u in resumed.train(12)]
        assert losses[:6] == peace[:6]
        assert (losses == peace) == remembers


# ---------------------------------------------------------------- schedule, clipping, accumulation


def test_schedule_of_a_worked_example():
    """Peak 6e-4, 200 updates of warm-up, floor 6e-5, 2,000 updates."""
    rate = partial(lab.learning_rate, peak=6e-4, warmup=200, total=2000, floor=6e-5)
    assert rate(99) == pytest.approx(3.00e-4)
    assert [rate(step) for step in (200, 500, 1000, 2000)] == pytest.approx([6e-4, 5.64e-4, 3.77e-4, 6e-5], rel=1e-3)
    assert rate(0) > 0


@HYPOTHESIS
@given(st.integers(0, 20), st.integers(0, 30), st.integers(0, 30), st.floats(0, 1))
def test_schedules_rise_then_never_rise(warmup, rest, decay, floor):
    total = warmup + rest + decay
    for how in ({}, {"decay": decay}):
        rates = [
            lab.learning_rate(s, peak=1.0, warmup=warmup, total=total, floor=floor, **how) for s in range(total + 3)
        ]
        assert all(a < b for a, b in itertools.pairwise(rates[:warmup]))
        assert all(a >= b - 1e-12 for a, b in itertools.pairwise(rates[max(0, warmup - 1) :]))
        assert all(min(floor, rates[0]) <= r <= 1 for r in rates)
        assert rates[total:] == [floor] * 3
    with pytest.raises(ValueError, match="total"):
        lab.learning_rate(0, peak=1.0, warmup=total + 1, total=total)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_clipping_is_torchs(dtype):
    for max_norm, size in itertools.product((0.1, 1.0, 1e3), (1e-3, 1.0, 1e4)):
        models = [nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3)).to(dtype) for _ in range(2)]
        for model in models:
            for i, p in enumerate(list(model.parameters())[1:]):  # the first one has no gradient
                p.grad = (size * normal(*p.shape, seed=i)).to(dtype)
        norms = (
            lab.clip_grad_norm(models[0].parameters(), max_norm),
            nn.utils.clip_grad_norm_(models[1].parameters(), max_norm),
        )
        torch.testing.assert_close(*norms)
        for a, b in zip(*(m.parameters() for m in models)):
            assert a.grad is b.grad is None or torch.equal(a.grad, b.grad)


@HYPOTHESIS
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6)), min_size=1, max_size=5), st.integers(0, 99))
def test_accumulation_is_the_big_batch(shapes, seed):
    """Against one padded batch through cross_entropy's own mean over what is scored."""
    torch.manual_seed(seed)
    model = WindowLM(6, d_model=8, hidden=8, layers=1).double()
    width = max(t for _, t in shapes)
    pieces = [(torch.randint(6, shape), torch.randint(-2, 6, shape)) for shape in shapes]
    pieces = [(x, torch.where(y < 0, lab.IGNORE, y)) for x, y in pieces]
    pieces[0][1][0, 0] = 3
    loss = lab.accumulate(model, pieces)
    found = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    inputs = torch.cat([F.pad(x, (0, width - x.size(1))) for x, _ in pieces])
    targets = torch.cat([F.pad(y, (0, width - y.size(1)), value=lab.IGNORE) for _, y in pieces])
    whole = F.cross_entropy(model(inputs).mT, targets, ignore_index=lab.IGNORE)
    whole.backward()
    assert loss == pytest.approx(whole.item(), rel=1e-12)
    for g, p in zip(found, model.parameters()):
        torch.testing.assert_close(g, p.grad, atol=1e-13, rtol=1e-10)


# ---------------------------------------------------------------- optimizers


def trajectories(ours, theirs, shapes=((4, 6), (7, 3), (5,)), updates=25):
    """Parameters under both optimizers with the same gradients; gradients of very different sizes."""
    found = []
    for make in (ours, theirs):
        parameters = [nn.Parameter(normal(*shape, seed=i)) for i, shape in enumerate(shapes)]
        optimizer = make(parameters)
        for t in range(updates):
            for i, p in enumerate(parameters):
                p.grad = normal(*p.shape, seed=100 * t + i) * 10.0 ** (i - 2 + (t % 3))
            optimizer.step()
        found.append([p.detach() for p in parameters])
    return zip(*found)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("eps", [1e-8, 1e-3])
def test_adamw_is_torchs(weight_decay, eps):
    how = {"lr": 0.03, "betas": (0.9, 0.95), "eps": eps, "weight_decay": weight_decay}
    for a, b in trajectories(partial(lab.AdamW, **how), partial(torch.optim.AdamW, **how)):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-11)


class PaperLion:
    """Algorithm 2 of Chen et al. 2023, one number at a time."""

    def __init__(self, parameters, lr=0.01, betas=(0.9, 0.99), weight_decay=0.2):
        self.parameters, self.how = parameters, (lr, *betas, weight_decay)
        self.averages = [[0.0] * p.numel() for p in parameters]

    def step(self):
        lr, beta1, beta2, decay = self.how
        for p, average in zip(self.parameters, self.averages):
            values, gradient = p.detach().flatten().tolist(), p.grad.flatten().tolist()
            for i, g in enumerate(gradient):
                c = beta1 * average[i] + (1 - beta1) * g
                values[i] -= lr * (math.copysign(1.0, c) * (c != 0) + decay * values[i])
                average[i] = beta2 * average[i] + (1 - beta2) * g
            p.data.copy_(torch.tensor(values, dtype=p.dtype).view_as(p))


def test_lion_is_the_papers():
    for a, b in trajectories(partial(lab.Lion, lr=0.01, weight_decay=0.2), PaperLion):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-11)


@HYPOTHESIS
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 7), st.integers(0, 999))
def test_orthogonalize_acts_on_singular_values(m, n, rounds, seed):
    """U diag(s) Vᵀ becomes U diag(φ(φ(...φ(s/‖s‖)))) Vᵀ with φ(s) = 3.4445 s - 4.7750 s³ + 2.0315 s⁵."""
    matrix = normal(m, n, seed=seed)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    s = s / s.norm()
    for _ in range(rounds):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    torch.testing.assert_close(lab.orthogonalize(matrix, rounds), u * s @ vh, atol=1e-8, rtol=0)


def test_orthogonalize_is_torchs_in_bfloat16():
    muon = pytest.importorskip("torch.optim._muon")
    for shape in ((16, 32), (32, 16), (24, 24)):
        matrix = normal(*shape).float()
        theirs = muon._zeropower_via_newtonschulz(matrix, (3.4445, -4.7750, 2.0315), 5, 1e-7)
        ours = lab.orthogonalize(matrix.bfloat16())
        assert (ours - theirs).float().norm() < 0.06 * theirs.float().norm()  # bfloat16 keeps 8 bits
        with pytest.raises(ValueError, match="2 dimensions"):
            lab.orthogonalize(matrix[0])


def test_muon_is_torchs(monkeypatch):
    """torch works in bfloat16; given our float64 orthogonalization, it must take the same steps."""
    muon = pytest.importorskip("torch.optim._muon")
    monkeypatch.setattr(muon, "_zeropower_via_newtonschulz", lambda g, *_: lab.orthogonalize(g))
    theirs = partial(torch.optim.Muon, lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    ours = partial(lab.Muon, lr=0.02, weight_decay=0.1)
    for a, b in trajectories(ours, theirs, shapes=((4, 6), (7, 3), (5, 5))):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-10)


def test_muon_steps_have_the_size_of_adamws():
    """The root mean square of a step is about 0.2 of the rate, whatever the matrix's shape and the gradient's size."""
    for shape in ((64, 64), (32, 128), (96, 24)):
        p = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
        optimizer = lab.Muon([p], lr=1.0, weight_decay=0.0)
        p.grad = 1e-5 * normal(*shape)
        optimizer.step()
        assert 0.14 < p.detach().square().mean().sqrt() < 0.25


def test_muon_leaves_other_groups_to_adamw():
    how = {"lr": 0.02, "betas": (0.9, 0.95), "weight_decay": 0.1}

    def ours(parameters):
        return lab.Muon([{"params": parameters, "orthogonal": False}], **how)

    for a, b in trajectories(ours, partial(torch.optim.AdamW, **how)):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-11)


@pytest.mark.parametrize("rule", [lab.AdamW, lab.Lion, lab.Muon])
def test_optimizer_state_survives_a_checkpoint(rule, tmp_path):
    parameters = [[nn.Parameter(normal(4, 3))] for _ in range(2)]
    first, second = rule(parameters[0], weight_decay=0.1), rule(parameters[1], weight_decay=0.1)
    for t in range(6):
        parameters[0][0].grad = normal(4, 3, seed=t)
        first.step()
        if t == 2:
            lab.save_checkpoint(tmp_path / "o.pt", {"o": first.state_dict(), "p": parameters[0][0].detach()})
            state = lab.load_checkpoint(tmp_path / "o.pt")
            second.load_state_dict(state["o"])
            parameters[1][0].data.copy_(state["p"])
        elif t > 2:
            parameters[1][0].grad = normal(4, 3, seed=t)
            second.step()
    assert torch.equal(parameters[0][0], parameters[1][0])


# ---------------------------------------------------------------- loss scaling and the guard


@HYPOTHESIS
@given(st.lists(st.sampled_from([0.5, 3e4, math.inf, math.nan]), min_size=1, max_size=25), st.integers(1, 4))
def test_scaler_is_torchs(values, interval):
    """Scale, decision and gradients after every update are those of torch.amp.GradScaler on the CPU."""
    ours = lab.LossScaler(scale=64.0, interval=interval)
    theirs = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=interval)
    for value in values:
        p, q = (nn.Parameter(torch.zeros(3)) for _ in range(2))
        optimizer = torch.optim.SGD([q], lr=1.0)
        theirs.scale(torch.zeros(()))  # creates its scale
        p.grad, q.grad = (torch.tensor([1.0, value, -2.0]) for _ in range(2))
        theirs.unscale_(optimizer)
        theirs.step(optimizer)
        theirs.update()
        finite = ours.unscale([p])
        assert finite == bool(q.detach().any())  # theirs made the step
        assert ours.scale == theirs.get_scale()
        torch.testing.assert_close(p.grad, q.grad, equal_nan=True)


def test_half_precision_loses_small_numbers():
    """The limits that the README names."""
    assert torch.tensor(2.0**-24).half() > 0
    assert torch.tensor(2.0**-25 * 0.99).half() == 0
    assert torch.tensor(65504.0).half().isfinite() and torch.tensor(65520.0).half().isinf()
    info = torch.finfo(torch.float16), torch.finfo(torch.bfloat16), torch.finfo(torch.float32)
    assert info[0].tiny == 2.0**-14 and info[1].tiny == info[2].tiny
    assert (torch.tensor(math.inf) - torch.tensor(math.inf)).isnan()


def test_guard_refuses_what_is_not_usual():
    guard = lab.SpikeGuard(factor=3.0, window=4, patience=3)
    assert not guard.accepts(math.nan, 1.0)
    assert not guard.accepts(1.0, math.inf)
    assert all(guard.accepts(1.0, norm) for norm in (1.0, 100.0, 1.0, 1.0))  # the window fills
    assert not guard.accepts(1.0, 3.1)
    assert guard.accepts(1.0, 2.9)
    again = lab.SpikeGuard(factor=3.0, window=4, patience=3)
    again.load_state_dict(copy.deepcopy(guard.state_dict()))
    for one in (guard, again):
        assert not one.accepts(1.0, 100.0) and not one.accepts(math.inf, 1.0)
        with pytest.raises(lab.Diverged, match="3 updates"):
            one.accepts(1.0, 100.0)


def poisoned_trainer(**how):
    """The third batch has a loss of NaN."""
    torch.manual_seed(0)
    model = WindowLM(24, d_model=8, hidden=8, layers=1)
    model.head.register_forward_hook(lambda *a: a[2] * (math.nan if trainer.step == 3 else 1.0))
    batches = TokenBatches(torch.from_numpy(MarkovSource().write(900, 1)), 4, 16)
    trainer = lab.Trainer(model, lab.AdamW(model.parameters()), batches, lambda step: 1e-3, **how)
    return trainer


def test_one_bad_batch_ends_a_run_without_a_guard_and_not_with_one():
    losses = [update.loss for update in poisoned_trainer().train(6)]
    assert all(map(math.isnan, losses[3:]))
    updates = list(poisoned_trainer(guard=lab.SpikeGuard()).train(6))
    assert [u.accepted for u in updates] == [True, True, True, False, True, True]
    assert math.isfinite(updates[-1].loss)


# ---------------------------------------------------------------- recomputation


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_recomputation_is_torchs(dropout):
    """The gradients of torch.utils.checkpoint, of plain backpropagation and ours: the same bits."""
    ids, targets = torch.randint(9, (3, 8)), torch.randint(9, (3, 8))
    found = []
    for call in (
        lambda block, x: block(x),
        lab.recompute,
        lambda block, x: torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False),
    ):
        torch.manual_seed(1)
        model = WindowLM(9, d_model=8, hidden=16, layers=3, dropout=dropout, run=call)
        lab.summed_nats(model(ids), targets).backward()
        found.append([p.grad for p in model.parameters()])
        after = torch.rand(2)
        found[-1].append(after)  # the random numbers go on alike
    for plain, ours, theirs in zip(*found):
        assert torch.equal(plain, ours) and torch.equal(plain, theirs)


def test_recomputation_keeps_one_activation_per_block():
    kept = {}
    for name, call in (("plain", lambda block, x: block(x)), ("ours", lab.recompute)):
        model = WindowLM(9, d_model=8, hidden=64, layers=1, run=call)
        x, sizes = torch.randn(5, 7, 8, requires_grad=True), []
        own = {p.data_ptr() for p in model.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, sizes=sizes, own=own: sizes.append(t.numel() * (t.data_ptr() not in own)) or t, lambda t: t
        ):
            call(model.blocks[0], x)
        kept[name] = sum(sizes)
    assert kept["ours"] == x.numel()
    assert kept["plain"] > 10 * kept["ours"]


# ---------------------------------------------------------------- checkpoints


def test_every_cut_and_every_flipped_byte_is_noticed(tmp_path):
    path = tmp_path / "a.pt"
    state = {"step": 3, "weights": torch.arange(5.0), "tuple": (1, "x", None), "nested": {2: [0.5]}}
    lab.save_checkpoint(path, state)
    lab.save_checkpoint(path, state | {"step": 4})
    blob = path.read_bytes()
    rng = random.Random(0)
    for place in [*range(60), *rng.sample(range(len(blob)), 150)]:
        for damaged in (
            blob[:place],
            blob[:place] + bytes([blob[place] ^ (1 << rng.randrange(8))]) + blob[place + 1 :],
        ):
            path.write_bytes(damaged)
            with pytest.raises(lab.CorruptCheckpoint):
                lab.read_checkpoint(path)
            assert not lab.is_intact(path)
            assert lab.load_checkpoint(path)["step"] == 3
    path.write_bytes(blob)
    found = lab.load_checkpoint(path)
    assert found["step"] == 4 and found["tuple"] == (1, "x", None) and found["nested"] == {2: [0.5]}
    assert torch.equal(found["weights"], torch.arange(5.0))
    with pytest.raises(FileNotFoundError):
        lab.load_checkpoint(tmp_path / "b.pt")


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    lab.save_checkpoint(tmp_path / "a.pt", {"x": Evil()})
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        lab.load_checkpoint(tmp_path / "a.pt")
    assert not (tmp_path / "made").exists()


def test_random_state_comes_back(tmp_path):
    def draws():
        return random.random(), float(np.random.rand()), float(np.random.randn()), torch.rand(2).tolist()

    np.random.randn()  # leaves a second normal number waiting
    lab.save_checkpoint(tmp_path / "r.pt", lab.RandomState().state_dict())
    first = draws()
    lab.RandomState().load_state_dict(lab.load_checkpoint(tmp_path / "r.pt"))
    assert draws() == first


# ---------------------------------------------------------------- data, range test, command line


def test_source_knows_its_entropy():
    """Letters come with the probabilities of the table; the measured nats are near the chain's entropy rate."""
    source = MarkovSource(vocab_size=5, concentration=0.5)
    letters = source.write(60_000, seed=3)
    counts = np.zeros((5, 5, 5))
    np.add.at(counts, (letters[:-2], letters[1:-1], letters[2:]), 1)
    pairs = counts.sum(-1)
    seen = pairs > 500
    expected = source.table[seen]
    spread = np.sqrt(expected * (1 - expected) / pairs[seen][:, None])
    assert (np.abs(counts[seen] / pairs[seen][:, None] - expected) <= 5 * spread + 1e-9).all()
    entropy = -(pairs / pairs.sum() * (source.table * np.log(source.table.clip(1e-300))).sum(-1)).sum()
    assert source.nats(letters) == pytest.approx(entropy, abs=0.02)


def test_batches_see_every_window_once_and_resume():
    batches = TokenBatches(torch.arange(101), batch=4, length=10)
    epoch = [next(batches) for _ in range(3)]
    assert [len(x) for x, _ in epoch] == [4, 4, 2]
    assert sorted(torch.cat([x for x, _ in epoch]).flatten().tolist()) == list(range(100))
    assert all(torch.equal(x + 1, y) for x, y in epoch)
    state, expected = batches.state_dict(), next(batches)
    other = TokenBatches(torch.arange(101), batch=4, length=10)
    other.load_state_dict(state)
    assert torch.equal(next(other)[0], expected[0])
    assert not torch.equal(expected[0], epoch[0][0])


def test_range_test_leaves_no_trace():
    ids = torch.from_numpy(MarkovSource().write(4_000, seed=1))
    trainer = training_report.new_trainer(lab, ids)
    peace = [u.loss for u in training_report.new_trainer(lab, ids).train(4)]
    torch.manual_seed(0)
    curve = training_report.lr_range_test(trainer, 1e-4, 10.0, 12)
    rates = [rate for rate, _ in curve]
    assert rates[0] == pytest.approx(1e-4) and rates == sorted(rates)
    assert trainer.step == 0
    assert [u.loss for u in trainer.train(4)] == peace


def test_smoke_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    lab.main(["--preset", "smoke", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "identical, bit by bit" in printed
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    assert results["agreement"]["adamw"] < 1e-12
    assert results["agreement"]["accumulate"] < 1e-12 < results["agreement"]["mean_of_means"]
    assert results["recompute"]["same_gradients"] == 1
    assert {path.name for path in tmp_path.glob("*.png")} == {"fp16.png", "training.png"}


def test_recorded_floors_hold():
    """What the README says of the figures that were made: no optimizer beats the source, and all beat the bigrams."""
    recorded = json.loads((FOLDER / "figures" / "results.json").read_text())["results"]
    for found in recorded["optimizers"].values():
        assert recorded["floors"]["entropy"] < found["held_out"] < recorded["floors"]["bigram"]
    assert recorded["kills"]["kills"] == 20 and recorded["kills"]["different_losses"] == 0
