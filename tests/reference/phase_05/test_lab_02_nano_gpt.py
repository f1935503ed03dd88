"""The reference of lab 5.2 against transformers, SciPy and itself after a crash; its stages; the house models."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.catalogue import find
from labkit.data.tinyworld import TinyWorld
from labkit.reference import nano_gpt as lab
from labkit.reference.mini_transformer import GPTConfig, MiniGPT, count_parameters, hf_weights
from labkit.reference.nano_gpt import floors, house_data, house_models, house_scores, nano_gpt_report, run_log
from labkit.reference.training_loop import Trainer, load_checkpoint

HYPOTHESIS = settings(deadline=None, derandomize=True, max_examples=40)
SMALL = {"vocab_size": 50, "block_size": 32, "n_layers": 2, "n_heads": 2, "d_model": 16}


def small_gpt(preset="llama", **sizes):
    torch.manual_seed(0)
    return MiniGPT(getattr(GPTConfig, preset)(**(SMALL | sizes))).eval()


# ---------------------------------------------------------------- shards and batches


@HYPOTHESIS
@given(
    st.lists(st.lists(st.integers(0, 99_998), max_size=12), max_size=25),
    st.sampled_from([100_000, 65_536]),
    st.integers(1, 40),
)
def test_shards_give_back_the_documents(tmp_path_factory, documents, vocab_size, shard_tokens):
    folder = tmp_path_factory.mktemp("shards")
    eot = vocab_size - 1
    documents = [[i % eot for i in ids] for ids in documents]
    total = lab.write_shards(documents, folder, "train", eot=eot, vocab_size=vocab_size, shard_tokens=shard_tokens)
    shards = lab.open_shards(folder, "train")
    row = [int(i) for shard in shards for i in shard]
    assert row == [i for ids in documents for i in [*ids, eot]]
    assert total == len(row)
    assert all(shard[-1] == eot for shard in shards)  # no document is cut
    assert all(len(shard) >= shard_tokens for shard in shards[:-1])


def test_shards_of_an_earlier_run_are_replaced(tmp_path):
    how = {"eot": 0, "vocab_size": 9, "shard_tokens": 2}
    lab.write_shards([[1, 2], [3, 4], [5, 6]], tmp_path, "train", **how)
    lab.write_shards([[7, 8]], tmp_path, "train", **how)
    assert [shard.tolist() for shard in lab.open_shards(tmp_path, "train")] == [[7, 8, 0]]


def test_a_shard_that_is_too_short_is_never_drawn():
    batches = lab.RandomCrops([np.arange(3), np.arange(10, 20), np.arange(5)], 50, 5)
    assert {int(i) for i in next(batches)[0].flatten()} <= set(range(10, 20))
    with pytest.raises(ValueError, match="shards"):
        lab.RandomCrops([np.arange(5)], 2, 5)


@HYPOTHESIS
@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 200))
def test_fixed_windows_are_disjoint_and_reach_the_end(length, count, more):
    ids = np.arange(count * length + 1 + more)
    windows = lab.fixed_windows(ids, count, length)
    targets = windows[:, 1:].flatten().tolist()
    assert len(set(targets)) == len(targets)
    fit = (len(ids) - 1) // length
    assert windows[0, 0] == 0
    assert windows[-1, 0] == (count - 1) * fit // count * length


# ---------------------------------------------------------------- against transformers and SciPy


def test_groups_are_those_of_the_transformers_trainer():
    """It decays what is no norm and no bias, by class and name: here that is what has two dimensions."""
    from transformers import Trainer as TheirTrainer

    for preset in ("gpt2", "llama"):
        gpt = small_gpt(preset)
        theirs = hf_weights.to_transformers(gpt)
        names = set(TheirTrainer.get_decay_parameter_names(None, theirs))
        wanted = sorted(tuple(p.shape) for name, p in theirs.named_parameters() if name in names)
        decay, kept = lab.optimizer_groups(theirs, 0.1)
        assert sorted(tuple(p.shape) for p in decay["params"]) == wanted
        assert len(decay["params"]) + len(kept["params"]) == len(list(theirs.parameters()))


def test_loss_is_that_of_transformers():
    gpt = small_gpt()
    theirs = hf_weights.to_transformers(gpt)
    windows = torch.randint(50, (5, 13), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = float(theirs(windows, labels=windows).loss)
    assert lab.estimate_loss(lab.Logits(gpt), windows, 2) == pytest.approx(wanted, abs=1e-5)


def test_greedy_writing_is_generate_of_transformers():
    gpt = small_gpt()
    with torch.no_grad():
        gpt.head.weight.normal_(generator=torch.Generator().manual_seed(3))
    prompt = [3, 7, 1]
    theirs = hf_weights.to_transformers(gpt).generate(
        torch.tensor([prompt]), do_sample=False, max_new_tokens=25, eos_token_id=49, pad_token_id=49
    )[0, 3:].tolist()  # fmt: skip
    wanted = theirs[: theirs.index(49)] if 49 in theirs else theirs
    assert lab.write(gpt, prompt, 2, 25, 49, temperature=0.0) == [wanted, wanted]
    with pytest.raises(ValueError, match="prompt"):
        lab.write(gpt, [], 1, 3, 0)


def test_sampled_tokens_have_the_right_frequencies():
    """20,000 first tokens at temperature 0.7: every frequency within 5 standard deviations."""
    gpt = small_gpt(vocab_size=6)
    with torch.no_grad():
        gpt.head.weight.normal_(generator=torch.Generator().manual_seed(3))
        p = (gpt(torch.tensor([[1, 2]]))[0][0, -1] / 0.7).softmax(-1).double().numpy()
    rows = lab.write(gpt, [1, 2], 20_000, 1, 0, 0.7, torch.Generator().manual_seed(0))
    counts = np.bincount([row[0] if row else 0 for row in rows], minlength=6)
    assert np.abs(counts - 20_000 * p).max() < 5 * math.sqrt(20_000 * 0.25)


def test_power_law_is_a_fit_of_scipy():
    from scipy.stats import linregress

    rng = np.random.default_rng(0)
    sizes = np.array([1e3, 7e3, 3e4, 2e5, 9e5])
    losses = 0.6 + 11 * sizes**-0.31 * np.exp(0.05 * rng.standard_normal(5))
    line = linregress(np.log(sizes), np.log(losses - 0.6))
    assert lab.fit_power_law(sizes, losses, 0.6) == pytest.approx((math.exp(line.intercept), -line.slope))
    with pytest.raises(ValueError, match="losses"):
        lab.fit_power_law([1, 2], [0.7, 0.6], 0.6)
    with pytest.raises(ValueError, match="sizes"):
        lab.fit_power_law([5, 5], [0.7, 0.8], 0.6)


# ---------------------------------------------------------------- a run that is stopped


def run_of(folder, updates, stops=()):
    """Records of a small run, in pieces that end after these updates: each piece is a new trainer."""
    rng = np.random.default_rng(0)
    documents = [rng.integers(1, 50, size=20).tolist() for _ in range(60)]
    how = {"eot": 0, "vocab_size": 50, "shard_tokens": 500}
    lab.write_shards(documents, folder, "train", **how)
    windows = lab.fixed_windows(lab.open_shards(folder, "train")[1], 8, 16)
    records = []
    for stop in (*stops, updates):
        gpt = small_gpt(dropout=0.1).train()
        batches = lab.RandomCrops(lab.open_shards(folder, "train"), 4, 16)
        optimizer = torch.optim.AdamW(lab.optimizer_groups(gpt, 0.1), lr=0.01)
        trainer = Trainer(lab.Logits(gpt), optimizer, batches, lambda step: 0.01 / (step + 1))
        records += lab.train(trainer, stop, windows, folder, every=3, batch=4)
    return records


def test_a_resumed_run_is_the_same_run(tmp_path):
    """Dropout included: the same losses and evaluations, to the last bit."""
    (tmp_path / "once").mkdir()
    (tmp_path / "twice").mkdir()
    once = run_of(tmp_path / "once", 12)
    twice = run_of(tmp_path / "twice", 12, stops=(3, 9))
    assert [r["loss"] for r in twice if "loss" in r] == [r["loss"] for r in once if "loss" in r]
    assert [r["held_out"] for r in twice if "held_out" in r] == [r["held_out"] for r in once if "held_out" in r]
    assert [r["step"] for r in once] == list(range(13))


def test_the_first_loss_is_near_ln_v():
    """Random weights know nothing: ln V plus half the variance of the logits, 0.0002 D with a tied head."""
    gpt = small_gpt("gpt2", vocab_size=1000, d_model=128)
    ids = torch.randint(1000, (16, 33), generator=torch.Generator().manual_seed(0))
    expected = math.log(1000) + 0.0002 * 128
    assert lab.estimate_loss(lab.Logits(gpt), ids, 8) == pytest.approx(expected, abs=0.05)


# ---------------------------------------------------------------- floors, log, stages


def test_floors_of_a_text_whose_entropy_is_known():
    """A fair coin has ln 2, whatever counts; a strict alternation costs a bigram nothing."""
    rng = np.random.default_rng(0)
    coin = rng.integers(2, size=40_000)
    found = floors.of([coin], lab.fixed_windows(coin, 40, 100).numpy(), 2, math.log(2))
    assert all(value == pytest.approx(math.log(2), abs=0.01) for value in found.values())
    alternating = np.arange(20_000) % 2
    found = floors.of([alternating], lab.fixed_windows(alternating, 20, 100).numpy(), 2, None)
    assert found["unigram"] == pytest.approx(math.log(2), abs=1e-3)
    assert found["bigram"] < 0.01 and found["ngram"] < 0.01
    assert "entropy" not in found


def test_a_resumed_log_has_every_update_once(tmp_path):
    path = tmp_path / "log.jsonl"
    with run_log.Log(path, None, 0) as log:
        for step in range(1, 8):
            log.write({"step": step, "loss": 1.0})
    with run_log.Log(path, None, 5) as log:  # the checkpoint has five updates
        log.write({"step": 6, "loss": 2.0})
    assert [(r["step"], r["loss"]) for r in run_log.read(path)] == [*[(s, 1.0) for s in range(1, 6)], (6, 2.0)]
    with pytest.raises(SystemExit, match="wandb"):
        run_log.sender("wandb", tmp_path)


def test_muon_gets_the_matrices_of_the_blocks_and_adamw_the_rest():
    """Every parameter once, with the decay that optimizer-groups gave it."""
    model = lab.Logits(small_gpt("gpt2"))
    given = lab.optimizer_groups(model, 0.1)
    groups = nano_gpt_report.muon_groups(given, model)
    ids = [id(p) for group in groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for group in given for p in group["params"]) and len(ids) == len(set(ids))
    names = {id(p): name for name, p in model.named_parameters()}
    for group in groups:
        for p in group["params"]:
            assert group["orthogonal"] == (p.dim() == 2 and ".blocks." in names[id(p)]), names[id(p)]
            assert group["weight_decay"] == (0.1 if p.dim() >= 2 else 0.0), names[id(p)]


def test_files_of_other_texts_and_the_other_optimizer(tmp_path):
    text = tmp_path / "mine.txt"
    text.write_text("\n\n".join(story.text for story in TinyWorld().stories("train", 60)), encoding="utf-8")
    lab.main(["--preset", "smoke", "--out", str(tmp_path), "--data", str(text), "--optimizer", "adamw"])
    assert {"results-mine.json", "training-mine.png"} <= {p.name for p in tmp_path.iterdir()}
    assert not (tmp_path / "results.json").exists()
    with pytest.raises(SystemExit):
        lab.main(["--preset", "smoke", "--optimizer", "sgd"])


def test_the_stages_one_by_one(tmp_path, capsys):
    out = ["--preset", "smoke", "--out", str(tmp_path)]
    with pytest.raises(SystemExit, match="--prepare"):
        lab.main([*out, "--train"])
    lab.main([*out, "--prepare"])
    with pytest.raises(SystemExit, match="no model yet"):
        lab.main([*out, "--sample"])
    lab.main([*out, "--train", "--updates", "5", "--schedule", "wsd"])
    lab.main([*out, "--train"])
    assert "going on after update 5" in capsys.readouterr().out
    found = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["results"]["training"]
    assert found["entropy"] < found["ngram"] < found["bigram"] < found["unigram"] < found["uniform"]
    assert found["first"] == pytest.approx(found["uniform"], abs=0.3)
    lab.main([*out, "--sample", "--prompt", "One day"])
    assert "One day" in capsys.readouterr().out
    lab.main([*out, "--scale"])
    lab.main([*out, "--ablate"])
    assert {"scaling.json", "ablations.json", "training.png", "scaling.png"} <= {p.name for p in tmp_path.iterdir()}


def test_calculated_numbers_of_the_readme():
    """The full preset: parameters, tokens, 6 N D operations, minutes at 100 TFLOP/s."""
    full = nano_gpt_report.PRESETS["full"]
    sizes = {key: full[key] for key in ("vocab_size", "n_layers", "n_heads", "d_model")}
    parameters = count_parameters(GPTConfig.llama(block_size=full["length"], tie_weights=True, **sizes))
    tokens = full["updates"] * full["batch"] * full["accumulation"] * full["length"]
    operations = 6 * parameters * tokens
    text = " ".join((find("5.2").path / "README.md").read_text(encoding="utf-8").split())
    assert f"about {parameters / 1e6:.0f} million parameters on {tokens / 1e9:.1f} billion tokens" in text
    assert f"some ${operations / 1e17:.1f} \\cdot 10^{{17}}$ operations: forty minutes" in text
    assert 35 < operations / 1e14 / 60 < 45


# ---------------------------------------------------------------- the house models


@pytest.fixture(scope="module")
def houses():
    return {name: house_models.load(name) for name in house_models.RECIPES}


def test_house_models_are_small_and_share_their_tokenizer(houses):
    folder = house_models.folder_of("target").parent
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 12e6
    target, draft = (house_models.folder_of(name) for name in ("target", "draft"))
    assert (target / "tokenizer.json").read_bytes() == (draft / "tokenizer.json").read_bytes()
    with pytest.raises(ValueError, match="target or draft"):
        house_models.load("huge")


@pytest.mark.parametrize("name", ["target", "draft"])
def test_house_models_in_transformers(houses, name):
    """The same logits, the same ids, and special tokens that are one id each."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gpt, tokenizer = houses[name]
    stored = AutoModelForCausalLM.from_pretrained(house_models.folder_of(name))
    assert stored.dtype == torch.bfloat16
    theirs = AutoModelForCausalLM.from_pretrained(house_models.folder_of(name), dtype=torch.float32)
    their_tokenizer = AutoTokenizer.from_pretrained(house_models.folder_of(name))
    stories = [story.text for story in TinyWorld().stories("test", 20)]
    for text in stories:
        assert their_tokenizer(text)["input_ids"] == tokenizer.encode_ordinary(text)
    ids = torch.tensor([[tokenizer.eot_id, *tokenizer.encode_ordinary(stories[0])]])
    with torch.no_grad():
        assert (gpt(ids)[0] - theirs(ids).logits).abs().max() < 1e-4
    assert theirs.generation_config.eos_token_id == tokenizer.eot_id == their_tokenizer.eos_token_id
    for token in house_data.SPECIAL_TOKENS:
        assert their_tokenizer(token)["input_ids"] == [tokenizer.special_ids[token]]
    chat = [{"role": "user", "content": "Who has the cap?"}, {"role": "assistant", "content": "Ida."}]
    encoded = their_tokenizer.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    marked = [i for i, m in zip(encoded["input_ids"], encoded["assistant_masks"]) if m]
    assert their_tokenizer.decode(marked) == "Ida.<|im_end|>"


def test_the_card_says_what_they_are(houses):
    card = (house_models.folder_of("target").parent / "README.md").read_text(encoding="utf-8")
    configs = [gpt.config for gpt, _ in houses.values()]
    row = " | ".join(f"{c.n_layers}, {c.d_model}, {c.n_heads}" for c in configs)
    assert f"| layers, width, heads | {row} |" in card
    assert f"updates of {house_models.BATCH * house_models.ACCUMULATION} documents" in card
    assert {f"{c.vocab_size:,} ids" in card and f"context {c.block_size}" in card for c in configs} == {True}
    for token in house_data.SPECIAL_TOKENS[:4]:
        assert f"`{token}`" in card


def test_house_models_know_their_world(houses):
    """On 48 test stories the target answers most clozes, the draft clearly fewer, and what is written ends."""
    right = {}
    for name, (gpt, tokenizer) in houses.items():
        items = house_scores.cloze_items(tokenizer, 48)
        right[name] = house_scores.accuracy(items, [choice for choice, _ in house_scores.answers(gpt, items)])["all"]
    assert right["target"] > max(0.65, right["draft"] + 0.1)  # 0.8 on 1,000; 0.65 is 2.6 standard errors below
    gpt, tokenizer = houses["target"]
    rows = lab.write(gpt, [tokenizer.eot_id], 4, 330, tokenizer.eot_id, 0.7, torch.Generator().manual_seed(0))
    for text in map(tokenizer.decode, rows):
        assert text.endswith(".") or "\nAnswer: " in text  # some documents end with a question and its answer


def test_house_models_are_the_mean_of_their_ends(houses, tmp_path, monkeypatch):
    """Stopped on the plateau and gone on with; the rate falls before each end, and the plateau goes on beside it."""
    tokenizer = houses["draft"][1]
    recipe = {"n_layers": 1, "n_heads": 1, "d_model": 8, "ends": [3, 5], "decay": 1, "peak": 1e-3}
    monkeypatch.setitem(house_models.RECIPES, "draft", recipe)
    monkeypatch.setattr(house_models, "WARMUP", 1)
    tokenizer.save(tmp_path / "tokenizer")
    texts = [tokenizer.encode_ordinary(text) for text in house_data.documents(600)]
    for split in ("train", "validation"):
        lab.write_shards(texts, tmp_path, split, eot=tokenizer.eot_id, vocab_size=tokenizer.n_vocab, shard_tokens=2**31)
    house_models.run_stage(house_models.make_trainer("draft", tmp_path, 3), tmp_path, "draft", 1, False)
    house_models.train("draft", tmp_path, False)
    rates = {}
    for file in ("draft", "draft-3", "draft-5"):
        records = run_log.read(tmp_path / f"{file}.jsonl")
        assert [record["step"] for record in records] == [*range(1, len(records) + 1)]
        spent = [record["cpu"] for record in records]
        assert spent == sorted(spent)
        rates[file] = [record["lr"] for record in records]
    assert rates["draft"] == [1e-3] * 4 and rates["draft-3"][:2] == [1e-3] * 2 and rates["draft-5"][:4] == [1e-3] * 4
    assert len(rates["draft-3"]) == 3 and len(rates["draft-5"]) == 5
    ends = [load_checkpoint(tmp_path / f"draft-{end}.ckpt")["parts"]["model"] for end in (3, 5)]
    for key, weights in house_models.trained("draft", tmp_path).state_dict().items():
        a, b = (end[f"gpt.{key}"] for end in ends)
        assert torch.equal(weights, ((a + b) / 2).bfloat16().float()) and not torch.equal(a, b)


def test_stories_are_held_to_account():
    stories = [story.text for story in TinyWorld().stories("test", 30)]
    fine = house_scores.held_to_account(stories)
    assert fine["faultless"] == fine["sayable"] == 1 and fine["contradicting"] == 0
    twice = [f"{text} {text.split('. ')[-1]} The moon is a cheese." for text in stories]
    poor = house_scores.held_to_account(twice)
    assert poor["sentences"] == fine["sentences"] + 2 * len(stories)
    assert poor["sayable"] == 1 - len(stories) / poor["sentences"] and poor["faultless"] == 0
    assert poor["repeated"] * poor["sentences"] >= len(stories)


def test_whole_documents_are_whole():
    rng = np.random.default_rng(0)
    documents = [rng.integers(1, 40, size=rng.integers(3, 30)) for _ in range(200)]
    shard = np.concatenate([np.append(ids, 0) for ids in documents]).astype(np.uint16)
    batches = house_data.WholeDocuments(shard, 0, batch=4, pool=8)
    seen = []
    for _ in range(8):
        inputs, targets = next(batches)
        assert (inputs[:, 0] == 0).all() and inputs.size(1) % 8 == 0
        for row, wanted in zip(inputs, targets):
            length = int((wanted != -100).sum())
            assert wanted[length - 1] == 0 and torch.equal(row[1:length], wanted[: length - 1])
            seen.append(wanted[: length - 1].tolist())
    assert sorted(seen) == sorted(ids.tolist() for ids in documents[1:33])


def test_options_of_several_tokens_are_scored_whole(houses):
    gpt, tokenizer = houses["draft"]
    context = [tokenizer.eot_id, *tokenizer.encode_ordinary("At the mill, Ida found")]
    options = [tokenizer.encode_ordinary(f" {word}") for word in ("nineteen", "seven", "fifteen", "nine")]
    with torch.no_grad():
        wanted = []
        for option in options:
            log_p = gpt(torch.tensor([[*context, *option]]))[0].log_softmax(-1)[0]
            wanted.append(sum(float(log_p[len(context) - 1 + n, token]) for n, token in enumerate(option)))
    choice, _ = house_scores.answers(gpt, [house_scores.Item(context, options, 1, "count")])[0]
    assert choice == int(np.argmax(wanted))
