"""labkit.data: names, local files, formats, and what a corpus offers."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from labkit import data
from labkit.data import builtin, datasets
from labkit.data.corpus import Contents, Corpus, Document

ROOT = Path(data.__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def no_mirror_and_an_empty_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("LABKIT_MIRROR", raising=False)
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))


def write(path, content):
    content = content.encode("utf-8") if isinstance(content, str) else content
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


# ---------------------------------------------------------------- names


def test_unknown_name_lists_what_there_is_and_what_is_close():
    with pytest.raises(data.UnknownData) as problem:
        data.load("tinyshakespear")
    message = str(problem.value)
    assert "did you mean tinyshakespeare?" in message
    assert all(name in message for name in ["python-docs", "gsm8k-test", "wordsim353", ".jsonl"])
    assert isinstance(problem.value, data.DataUnavailable), "labkit.run ends the program in one line for these"


def test_unknown_name_without_anything_close_suggests_nothing():
    with pytest.raises(data.UnknownData) as problem:
        data.load("qqqqqqqq")
    assert "did you mean" not in str(problem.value)


@pytest.mark.parametrize("name", ["no/such/file", "missing.txt", "missing.jsonl.gz", Path("tinyshakespeare")])
def test_missing_path_is_called_a_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(data.UnknownData, match="there is no file"):
        data.load(name)


def test_folder_and_unknown_kind_of_file(tmp_path):
    with pytest.raises(data.UnknownData, match="is a folder"):
        data.load(tmp_path)
    with pytest.raises(data.UnknownData, match=r"expected a file ending in \.txt, .*\.gz"):
        data.load(write(tmp_path / "model.bin", "x"))


@pytest.mark.parametrize("limit", [0, -1, 2.0, True, "3"])
def test_limit_must_be_a_positive_whole_number(limit):
    with pytest.raises(ValueError, match="limit: expected a positive whole number or None, got"):
        data.load("python-docs", limit=limit)


def test_available_lists_everything_without_network():
    rows = {row.name: row for row in data.available()}
    assert set(rows) == {*builtin.BUILT_IN, *datasets.datasets()}
    assert rows["python-docs"].kind == "built-in" and rows["python-docs"].cached
    assert rows["tinyshakespeare"][1:3] == ("download", 1_115_394) and not rows["tinyshakespeare"].cached
    assert rows["hellaswag"].kind == "mirror"
    assert all(row.licence and row.description for row in rows.values())


def test_new_generator_is_one_entry(monkeypatch):
    def counting(limit):
        rows = [{"n": str(n)} for n in range(5)][:limit]
        return Corpus("counting", "MIT", "generated", read=lambda: Contents(records=rows))

    monkeypatch.setitem(builtin.BUILT_IN, "counting", builtin.BuiltIn(counting, "numbers", "MIT"))
    assert [row["n"] for row in data.load("counting", limit=3).records] == ["0", "1", "2"]
    assert "counting" in [row.name for row in data.available()]


def test_import_is_light():
    heavy = "{'numpy', 'httpx', 'rich', 'filelock', 'tomllib', 'json', 'gzip', 'hashlib', 'difflib'}"
    code = f"import sys; before = set(sys.modules); import labkit.data; print(*({heavy} & set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.strip() == ""


# ---------------------------------------------------------------- datasets.toml


def test_every_entry_is_complete_and_consistent():
    for name, entry in datasets.datasets().items():
        assert len(entry.sha256) == 64 and int(entry.sha256, 16) and entry.bytes > 0, name
        assert bool(entry.url) != bool(entry.change), f"{name}: either an address or why there is none"
        assert bool(entry.url_sha256) == bool(entry.url_bytes), name
        if entry.url:
            packed = entry.url.endswith(".gz") or not entry.path.endswith(".gz")
            assert packed != bool(entry.url_sha256), f"{name}: url_sha256 exactly where the address has it unpacked"
            assert "/master/" not in entry.url and "/refs/" not in entry.url, f"{name}: a branch moves, pin a commit"
        assert entry.form in {"txt", "lines", "jsonl", "json", "squad", "csv", "tsv", "binary"}, name
        assert not Path(entry.path).is_absolute() and ".." not in Path(entry.path).parts, name
    paths = [entry.path for entry in datasets.datasets().values()]
    assert len(set(paths)) == len(paths)


# ---------------------------------------------------------------- running text


@pytest.mark.parametrize("name", ["story.txt", "story.txt.gz"])
def test_text_documents_are_paragraphs(tmp_path, name):
    text = "First line,\nsecond line.\n\n \n\nNext paragraph: é, 中, 😀.\n"
    corpus = data.load(str(write(tmp_path / name, text)))
    assert corpus.text == text
    assert [document.text for document in corpus.documents] == [
        "First line,\nsecond line.",
        "Next paragraph: é, 中, 😀.",
    ]
    assert (corpus.name, corpus.path) == (name, tmp_path / name)
    with pytest.raises(ValueError, match="no records"):
        _ = corpus.records


def test_text_documents_between_end_of_text_lines(tmp_path):
    text = "\nOne.\n\nStill one.\n<|endoftext|>\nTwo mentions <|endoftext|> inline.\n<|endoftext|>\n"
    corpus = data.load(write(tmp_path / "a.txt", text))
    assert [document.text for document in corpus.documents] == [
        "One.\n\nStill one.",
        "Two mentions <|endoftext|> inline.",
    ]


def test_limit_cuts_text_after_the_last_document(tmp_path):
    path = write(tmp_path / "a.txt", "a a\n\nb\n\nc\n")
    corpus = data.load(path, limit=2)
    assert [document.text for document in corpus.documents] == ["a a", "b"]
    assert corpus.text == "a a\n\nb"
    assert data.load(path, limit=3).text == data.load(path, limit=10**9).text == "a a\n\nb\n\nc\n"


def test_windows_line_ends_and_byte_order_mark_are_gone(tmp_path):
    corpus = data.load(write(tmp_path / "a.txt", b"\xef\xbb\xbfone\r\n\r\ntwo\r\n"))
    assert corpus.text == "one\n\ntwo\n"
    assert [document.text for document in corpus.documents] == ["one", "two"]


def test_empty_text_has_no_documents(tmp_path):
    corpus = data.load(write(tmp_path / "a.txt", ""))
    assert (corpus.text, corpus.documents) == ("", [])


# ---------------------------------------------------------------- records

ROWS = [{"title": "A", "text": "one"}, {"title": "B", "text": 'two, "quoted"\tand more'}, {"title": "C", "text": "3"}]


@pytest.mark.parametrize("limit", [None, 2])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.json", "rows.csv", "rows.csv.gz"])
def test_records_in_every_format(tmp_path, name, limit):
    if "json" in name:
        content = json.dumps(ROWS) if name == "rows.json" else "\n\n".join(map(json.dumps, ROWS))
    else:
        content = 'title,text\r\nA,one\r\nB,"two, ""quoted""\tand more"\r\nC,3\r\n'
    corpus = data.load(write(tmp_path / name, content), limit=limit)
    assert corpus.records == ROWS[:limit]
    assert corpus.documents == [Document(row["title"], row["text"]) for row in ROWS[:limit]]
    assert corpus.text == "\n\n".join(row["text"] for row in ROWS[:limit])


def test_tsv_quotes_are_ordinary(tmp_path):
    corpus = data.load(write(tmp_path / "a.tsv", 'id\ttext\n7\tsay "hi\n8\t"\n'))
    assert corpus.records == [{"id": "7", "text": 'say "hi'}, {"id": "8", "text": '"'}]
    assert corpus.documents[0] == Document("7", 'say "hi')


def test_one_json_object_is_one_record(tmp_path):
    assert data.load(write(tmp_path / "a.json", '{"x": [1]}')).records == [{"x": [1]}]


def test_record_without_text_field_gives_all_its_strings(tmp_path):
    corpus = data.load(write(tmp_path / "a.jsonl", '{"question": "Why?", "n": 3, "answer": "So."}'))
    assert corpus.documents == [Document("0", "Why?\nSo.")]


def test_record_without_any_string_gives_its_json(tmp_path):
    assert (
        data.load(write(tmp_path / "a.jsonl", '{"id":3,"ids":[1,2]}')).documents[0].text == '{"id": 3, "ids": [1, 2]}'
    )


def test_record_longer_than_the_csv_modules_default(tmp_path):
    corpus = data.load(write(tmp_path / "a.csv", "text\n" + "x" * 200_000 + "\n"))
    assert len(corpus.text) == 200_000


BROKEN = {
    "bad.jsonl": ('{"a": 1}\n{"a": \n', "line 2 is not JSON"),
    "list.jsonl": ('{"a": 1}\n[1]\n', "line 2: expected a JSON object, got list"),
    "bad.json": ("[1, 2]", "item 0: expected a JSON object, got int"),
    "cut.json": ('[{"a": 1}', "Expecting"),
    "ragged.csv": ("a,b\n1,2\n3\n", r"line 3 has 1 columns, expected 2: a, b"),
    "wide.tsv": ("a\tb\n1\t2\t3\n", r"line 2 has 3 columns, expected 2: a, b"),
    "latin1.txt": (b"caf\xe9 au lait", "is not UTF-8 text"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_named_with_the_place(tmp_path, name):
    content, complaint = BROKEN[name]
    corpus = data.load(write(tmp_path / name, content))
    with pytest.raises(ValueError, match=complaint) as problem:
        _ = corpus.documents
    assert name in str(problem.value)


PACKED = gzip.compress(b"some text " * 1000, mtime=0)


@pytest.mark.parametrize(
    "content",
    [PACKED[:-20], PACKED[:20] + b"?" * 20 + PACKED[40:], b"not gzip at all"],
    ids=["cut", "damaged", "not-gzip"],
)
def test_broken_gzip_is_named(tmp_path, content):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.txt\.gz is a damaged gzip file"):
        _ = data.load(path).text


def test_corpus_reads_once_and_only_when_used():
    reads = []

    def read():
        reads.append(1)
        return Contents(documents=[Document("t", "x"), Document("u", "y")])

    corpus = Corpus("c", "MIT", "test", read)
    assert not reads
    assert (corpus.text, len(corpus.documents), corpus.text) == ("x\n\ny", 2, "x\n\ny")
    assert len(reads) == 1
    with pytest.raises(AttributeError):
        corpus.name = "other"
