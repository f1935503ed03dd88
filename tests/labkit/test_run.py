"""labkit.run: what every lab's main() shares."""

import argparse
import contextlib
import json
import math
import os
import random
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from labkit import run

PRESETS = {
    "smoke": {"documents": 3, "rate": 1, "sizes": [1, 2], "shuffle": True, "kind": "50%", "limit": 10},
    "cpu": {"documents": 10**9, "rate": 0.5, "sizes": [4], "shuffle": False, "kind": "50%", "limit": None},
}
ROOT = Path(run.__file__).resolve().parents[1]


@pytest.fixture
def args(tmp_path):
    return argparse.Namespace(out=tmp_path / "out", lab_folder=tmp_path, started=0.0, command="x")


def python(*words, **options):
    """A fresh interpreter that finds this labkit, its output captured."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True, timeout=60, **options)


def test_default_preset_fills_every_key():
    args = run.arguments("Doc.", PRESETS, ["word"], extra=lambda parser: parser.add_argument("word"))
    assert {key: getattr(args, key) for key in PRESETS["cpu"]} == PRESETS["cpu"]
    assert (args.preset, args.seed, args.word) == ("cpu", 0, "word")
    assert not hasattr(args, "data") and not hasattr(args, "device")
    args.sizes.append(99)
    assert PRESETS["cpu"]["sizes"] == [4], "a lab that changes its list must not change the preset"


FLAGS = {
    "--documents 7": ("documents", 7),
    "--rate 2": ("rate", 2.0),
    "--rate 0.5": ("rate", 0.5),
    "--sizes 5 6": ("sizes", [5, 6]),
    "--no-shuffle": ("shuffle", False),
    "--limit 4": ("limit", 4),
}


@pytest.mark.parametrize("words", FLAGS)
def test_flag_is_typed_and_wins_over_the_preset(words):
    args = run.arguments("Doc.", PRESETS, ["--preset", "smoke", *words.split()])
    key, value = FLAGS[words]
    assert type(getattr(args, key)) is type(value)
    assert {name: getattr(args, name) for name in PRESETS["smoke"]} == PRESETS["smoke"] | {key: value}


@pytest.mark.parametrize("words", ["--documents 2.5", "--documents many", "--doc 1", "--preset huge", "--seed -1"])
def test_bad_words_end_in_a_usage_line(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        run.arguments("Doc.", PRESETS, words.split())
    assert "error:" in capsys.readouterr().err
    with pytest.raises(ValueError, match="'cpu' has"):
        run.arguments("Doc.", {"smoke": {"a": 1}, "cpu": {"b": 1}}, words.split())


def test_help_shows_first_paragraph_and_all_values(capsys):
    with pytest.raises(SystemExit, match="0"):
        run.arguments("One line.\nTwo.\n\nMore.", PRESETS, ["--help"], data="python-docs")
    text = capsys.readouterr().out
    assert "One line.\nTwo.\n" in text and "More." not in text
    for part in ("smoke 3, cpu 1000000000", "smoke 1, cpu 0.5", "default 50%", "--no-shuffle", "default python-docs"):
        assert part in text


def test_folder_is_the_callers_and_command_has_no_absolute_path(tmp_path):
    args = run.arguments("Doc.", PRESETS, [])
    folder = Path(__file__).resolve().parent
    assert (args.lab_folder, args.out, args.command) == (folder, folder / "out", "python test_run.py")
    words = ["--preset", "smoke", "--out", str(tmp_path), "--data", str(tmp_path / "my file.txt")]
    args = run.arguments("Doc.", PRESETS, words, data="python-docs")
    assert (args.out, args.command) == (tmp_path, "python test_run.py --preset smoke --data 'my file.txt'")
    words = [f"--out={tmp_path}", f"--kind={tmp_path / 'k'}"]
    assert run.arguments("Doc.", PRESETS, words).command == "python test_run.py --kind=k"


def test_same_seed_same_numbers():
    torch = pytest.importorskip("torch")

    def draw(seed):
        run.arguments("Doc.", PRESETS, ["--seed", str(seed), "--device", "cpu"], device=True)
        return random.random(), np.random.rand(), torch.rand(()).item()

    assert draw(3) == draw(3)
    assert not set(draw(4)) & set(draw(3))


def test_device_is_resolved_or_named(monkeypatch, capsys):
    torch = pytest.importorskip("torch")
    for found in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=found: found)
        assert run.arguments("Doc.", PRESETS, [], device=True).device == ("cuda" if found else "cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for device in ("cuda", "mps"):
        with pytest.raises(SystemExit, match="2"):
            run.arguments("Doc.", PRESETS, ["--device", device], device=True)
        assert f"--device {device}: this torch sees no" in capsys.readouterr().err


def test_data_is_loaded_or_its_absence_named(monkeypatch):
    def load(name):
        if name == "missing":
            raise LookupError("missing cannot be had; use python-docs")
        return types.SimpleNamespace(name=name, versions={"python": "3.11"})

    fake = types.SimpleNamespace(load=load, DataUnavailable=LookupError)
    monkeypatch.setattr("labkit.data", fake, raising=False)
    args = argparse.Namespace(data="here")
    assert run.load_data(args).name == "here"
    assert args.data_versions == {"python": "3.11"}
    with pytest.raises(SystemExit, match=r"^missing cannot be had; use python-docs$"):
        run.load_data(argparse.Namespace(data="missing"))


def test_import_is_light_and_progress_silent_in_a_pipe():
    code = "import sys; from labkit import run; print(list(run.progress(range(3), 'counting')), *sys.modules)"
    done = python("-c", code)
    assert done.stdout.startswith("[0, 1, 2] ") and done.stderr == ""
    assert not {"numpy", "torch", "matplotlib", "rich"} & set(done.stdout.split())


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_progress_shows_on_a_terminal_and_leaves_stdout_alone(tmp_path):
    import pty

    code = """from labkit import run
for i in run.progress(iter(range(3)), "outer-loop", total=3):
    print("row", i, sum(run.progress([1, 2], "inner-loop")))"""
    ours, theirs = pty.openpty()
    env = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"}
    with (tmp_path / "stdout").open("w") as stdout:
        child = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=stdout, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # Linux says "end of file" with one
        while chunk := os.read(ours, 4096):
            shown += chunk
    os.close(ours)
    assert child.wait(timeout=60) == 0, shown.decode()
    assert (tmp_path / "stdout").read_text() == "row 0 3\nrow 1 3\nrow 2 3\n"
    assert b"outer-loop" in shown


def test_table_aligns_numbers_right():
    rows = [["regex", 12345, 0.5, "3.2x"], ["日本", 7, np.float32(12.25), "10.0x"], ["c", None, 1, "-"]]
    assert run.table(["name", "vocab", "ratio", "speed"], rows).splitlines() == [
        "name    vocab  ratio  speed",
        "-----  ------  -----  -----",
        "regex  12,345   0.50   3.2x",
        "日本        7  12.25  10.0x",
        "c           -      1      -",
    ]
    assert run.table(["a", "b"], []) == "a  b\n-  -"
    with pytest.raises(ValueError, match="expected 2 cells"):
        run.table(["a", "b"], [[1]])


def test_table_cells():
    cells = {1234.5: "1,234", 0.12345: "0.123", 0.0001234: "0.0001234", True: "yes", "a\nb": "a b", math.nan: "nan"}
    assert {value: run.table(["x"], [[value]]).split("\n")[-1].strip() for value in cells} == cells


def draw_figure(args):
    fig, axes = run.figure(1, 2, width=7, height=3)
    axes[0].plot([1, 2, 3], label="a line")
    axes[1].imshow(np.arange(9).reshape(3, 3))
    return run.save_figure(args, fig, "picture.png")


def test_figure_is_the_same_bytes_every_time(args, capsys):
    from matplotlib import pyplot
    from PIL import Image

    first = draw_figure(args).read_bytes()
    assert draw_figure(args).read_bytes() == first
    assert capsys.readouterr().out == "figure  out/picture.png\n" * 2
    assert not pyplot.get_fignums(), "a saved figure is closed"
    image = Image.open(args.out / "picture.png")
    assert image.size == (1050, 450)
    assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert len(first) < 40_000 and len(image.getcolors()) > 100


def test_results_hold_plain_rounded_numbers(args):
    torch = pytest.importorskip("torch")
    values = {"third": 1 / 3, "f": np.float32(0.1), "ids": np.arange(2), "n": np.int64(3), "t": (1, None), "é": "é"}
    args.data_versions = {"python-docs": "3.11"}
    record = json.loads(run.save_results(args, {"a": values, "big": 10**20}).read_text(encoding="utf-8"))
    plain = {"third": 0.333333, "f": 0.1, "ids": [0, 1], "n": 3, "t": [1, None], "é": "é"}
    assert record["results"] == {"a": plain, "big": 10**20}
    assert list(record) == ["command", "date", "seconds", "cpu_seconds", "device", "threads", "versions", "results"]
    assert (record["versions"]["numpy"], record["versions"]["python-docs"]) == (np.__version__, "3.11")
    tensors = {"loss": torch.tensor(0.5, requires_grad=True), "w": torch.ones(2, dtype=torch.bfloat16)}
    path = run.save_results(args, tensors, name="bench")
    assert json.loads(path.read_text())["results"] == {"loss": 0.5, "w": [1.0, 1.0]}
    assert record["device"]["cpu"] and record["device"]["cores"] >= 1 and record["threads"] >= 1


REFUSED = {
    r"results\.a\.loss is nan": {"a": {"loss": math.nan}},
    r"results\.a\[1\] is inf": {"a": [1.0, np.inf]},
    r"results\.a: keys must be str, got 1 \(int\)": {"a": {1: 2}},
    r"results\.a: .* got set": {"a": {2, 3}},
}


@pytest.mark.parametrize("message", REFUSED)
def test_results_refuse_what_json_cannot_say(message, args):
    with pytest.raises((TypeError, ValueError), match=message):
        run.save_results(args, REFUSED[message])
    assert not (args.out / "results.json").exists()


@pytest.mark.parametrize("save", [draw_figure, lambda args: run.save_results(args, {"new": 2})])
def test_a_crash_while_writing_leaves_the_old_file(save, args, monkeypatch):
    path = save(args)
    path.write_text("old")

    def crash(source, target):
        raise OSError("power cut")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="power cut"):
        save(args)
    assert path.read_text() == "old"
    assert [file.name for file in args.out.iterdir()] == [path.name], "no temporary file stays"


LAB = '''"""A lab."""
from labkit import run
def double(x):
    # TODO double-it (~1 line): twice x
    raise NotImplementedError("TODO double-it")
    # END TODO double-it
def halve(x):
    # TODO halve-it (~1 line): half of x
    raise NotImplementedError("TODO halve-it")
    # END TODO halve-it
def main(argv=None):
    args = run.arguments(__doc__, {"cpu": {"number": 3}}, argv)
    print(double(args.number), halve(8))
run.main(main)
'''
BOTH = LAB.replace('raise NotImplementedError("TODO double-it")', "return 2 * x")
BOTH = BOTH.replace('raise NotImplementedError("TODO halve-it")', "return x / 2")
NEXT = "Fill in the first one, then type: labkit check 9.1\n"


def play(folder, text, *words):
    """`python lab.py words` in a folder that holds this text as its lab."""
    (folder / "lab.toml").write_text('title = "T"\nid = "9.1"\n')
    (folder / "lab.py").write_text(text)
    return python("lab.py", *words, cwd=folder)


@pytest.mark.parametrize(
    ("text", "code", "out", "err"),
    [
        (BOTH, 0, "6 4.0\n", ""),
        (LAB, 1, "lab.py:4  TODO double-it: twice x\nlab.py:8  TODO halve-it: half of x\n" + NEXT, ""),
        (BOTH.replace("x / 2", '8\n    raise NotImplementedError("TODO halve-it")').replace("return 8", "x = 8"), 1,
         "lab.py:8  TODO halve-it: half of x\n" + NEXT, ""),
        (LAB.replace("# END TODO halve-it", ""), 1, "lab.py: line 8: region halve-it is never closed\n", ""),
        (BOTH.replace("return x / 2", "raise KeyboardInterrupt"), 130, "", "interrupted"),
        (BOTH.replace("return x / 2", 'raise NotImplementedError("other")'), 1, "", "Traceback"),
    ],
    ids=["finished", "unfinished", "raise-left", "damaged", "interrupted", "other-error"],
)  # fmt: skip
def test_main(text, code, out, err, tmp_path):
    done = play(tmp_path, text)
    assert (done.returncode, done.stdout) == (code, out)
    assert done.stderr.strip().startswith(err) and bool(err) == bool(done.stderr)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_closed_pipe_is_quiet_and_help_needs_no_answers(tmp_path):
    assert "A lab." in play(tmp_path, LAB, "--help").stdout
    play(tmp_path, BOTH)
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}  # so that the last flush meets the closed pipe
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "lab.py"], cwd=tmp_path, env=env, **pipes) as child:
        child.stdout.close()
        assert child.stderr.read() == b""
