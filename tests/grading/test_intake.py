"""What strangers hand in: each oddity becomes a sentence, nothing is followed, nothing is unpacked to disk."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from labkit import catalogue, skeleton
from labkit.grading import archives, submission

TOY = Path(__file__).parents[1] / "labkit" / "toy"
LAB = catalogue.find("1.1", TOY)
PLACE = "phase-01-toy/lab-01-toy/lab.py"
TEXT = skeleton.skeleton(LAB.solution.read_text(), LAB.id)


def zipped(members: dict[str, bytes | str], **attributes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for key, value in attributes.items():
                setattr(info, key, value)
            archive.writestr(info, data)
    return stream.getvalue()


def tarred(members: dict[str, bytes | tarfile.TarInfo], mode: str = "w:gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, data in members.items():
            info = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(data, bytes):
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data) if isinstance(data, bytes) else None)
    return stream.getvalue()


@pytest.fixture
def read(tmp_path):
    """Reads one submission from bytes (an archive) or a dict (a folder)."""

    def run(what: bytes | dict, name: str = "anna.zip") -> submission.Submission:
        path = tmp_path / name
        if isinstance(what, bytes):
            path.write_bytes(what)
        else:
            path.mkdir()
            for member, data in what.items():
                (path / member).parent.mkdir(parents=True, exist_ok=True)
                (path / member).write_bytes(data.encode() if isinstance(data, str) else data)
        before = sorted(tmp_path.rglob("*"))
        handed = submission.read(path, [LAB])
        assert sorted(tmp_path.rglob("*")) == before, "taking in a submission must leave nothing on the disk"
        return handed

    return run


@pytest.mark.parametrize(
    "name",
    [
        *(PLACE, "lab-01-toy/lab.py", "lab-01-toy.py", "toy.py", "1.1.py", f"top folder/{PLACE}", "top/1.1.py"),
        *("lab.py", "top/lab.py", "lab (2).py", "Windows\\lab-01-toy\\lab.py"),
    ],
)
def test_a_lab_is_found_where_people_put_it(read, name):
    for what in (
        zipped({name: TEXT, "__MACOSX/1.1.py": b"\x00junk", ".hidden/1.1.py": b"junk"}),
        tarred({name: TEXT.encode()}),
    ):
        handed = read(what)
        assert handed.labs["1.1"].text == TEXT
        assert handed.labs["1.1"].file == name and handed.notes == []
    if "\\" not in name:
        assert read({name: TEXT}, "folder").labs["1.1"].text == TEXT


def test_an_uncompressed_tar_is_read(read):
    assert read(tarred({PLACE: TEXT.encode()}, "w"), "anna.tar").labs["1.1"].text == TEXT


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (TEXT.replace("\n", "\r\n").encode(), TEXT),
        (b"\xef\xbb\xbf" + TEXT.encode(), TEXT),
        (TEXT.replace("    ", "\t").encode(), TEXT.replace("    ", "\t")),
        (TEXT.replace("TODO", "THING").encode(), TEXT.replace("TODO", "THING")),  # the engine says what is missing
        (b"print 'Python 2'\n", "print 'Python 2'\n"),
    ],
    ids=["CRLF", "byte order mark", "tabs", "no markers", "Python 2"],
)
def test_odd_text_is_taken_as_it_is(read, data, text):
    assert read({PLACE: data}, "folder").labs["1.1"].text == text


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({PLACE: b"x = 1\n" * 900_000}, "larger than 1 MB"),
        ({PLACE: b"# caf\xe9\n"}, "is not UTF-8 text (byte 0xe9 at position 5)"),
        ({PLACE: TEXT, "1.1.py": TEXT + "# other\n"}, "2 different files for lab 1.1: "),
    ],
)
def test_a_file_that_is_refused_says_why(read, members, says):
    for what in (zipped(members), members):
        handed = read(what, "x.zip" if isinstance(what, bytes) else "x")
        assert not handed.labs and says in handed.refused["1.1"]


def test_two_equal_files_are_one(read):
    assert read({PLACE: TEXT, "1.1.py": TEXT}, "folder").labs["1.1"].text == TEXT


def test_the_same_name_twice_in_an_archive(read):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(PLACE, TEXT)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(PLACE, TEXT + "# other\n")
    assert "2 different files" in read(stream.getvalue()).refused["1.1"]


@pytest.mark.parametrize("name", [f"../{PLACE}", f"/{PLACE}", f"C:\\{PLACE}", f"a/../../{PLACE}", "..\\..\\1.1.py"])
def test_paths_that_lead_out_are_ignored(read, name):
    for what in (zipped({name: TEXT, PLACE: TEXT}), tarred({name: TEXT.encode(), PLACE: TEXT.encode()})):
        handed = read(what)
        assert handed.labs["1.1"].file == PLACE and "leads out of the submission" in handed.notes[0]


def test_links_and_devices_are_not_followed(read, tmp_path):
    def member(kind: bytes, name: str = PLACE) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        return info

    link = zipped({PLACE: "/etc/passwd"}, external_attr=(stat.S_IFLNK | 0o777) << 16)
    assert "a symbolic link" in read(link).refused["1.1"]
    for kind, word in [(tarfile.SYMTYPE, "symbolic"), (tarfile.LNKTYPE, "hard"), (tarfile.CHRTYPE, "device")]:
        assert word in read(tarred({PLACE: member(kind)})).refused["1.1"]
    folder = tmp_path / "folder"
    (folder / "lab-01-toy").mkdir(parents=True)
    (folder / "lab-01-toy" / "lab.py").symlink_to("/etc/passwd")
    (folder / "phase-01-toy").symlink_to(LAB.phase.path)
    os.mkfifo(folder / "1.1.py")
    handed = submission.read(folder, [LAB])
    assert not handed.labs and "is no plain file" in handed.refused["1.1"]
    assert handed.notes == ["phase-01-toy: a symbolic link, ignored"]
    (tmp_path / "elsewhere").symlink_to(folder)
    assert submission.read(tmp_path / "elsewhere", [LAB]).notes == ["it is a symbolic link"]


def test_bombs_are_read_no_further_than_the_cap(read):
    big = b"#" * (300 * 2**20)
    assert "larger than 1 MB" in read(zipped({PLACE: big[: 50 * 2**20]})).refused["1.1"]
    other = tarfile.TarInfo("other")
    other.size = len(big)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as archive:
        archive.addfile(other, io.BytesIO(big))
    assert "unpacked it is larger than 200 MB" in read(stream.getvalue()).notes[0]
    assert "larger than 20 MB" in read(b"PK" + bytes(21 * 2**20)).notes[0]


def test_a_header_that_lies_about_the_size_is_no_way_around_the_cap(read):
    """The zip says that lab.py unpacks to 10 bytes; it unpacks to 30 MB."""
    data = b"#" * (30 * 2**20)
    archive = bytearray(zipped({PLACE: data}))
    for place in (archive.find(b"PK\x03\x04") + 22, archive.find(b"PK\x01\x02") + 24):
        archive[place : place + 4] = (10).to_bytes(4, "little")
    handed = read(bytes(archive))
    assert not handed.labs or len(handed.labs["1.1"].text) <= 10


def test_many_files(read):
    many = {f"data/{i}.txt": b"" for i in range(10_000)}
    handed = read(zipped(many | {PLACE: TEXT}))
    assert handed.labs["1.1"].text == TEXT and handed.notes == ["10,000 other files were ignored"]
    assert read(zipped(many)).notes == ["it holds no lab.py of the labs to be graded; 10,000 other files were ignored"]
    more = {f"data/{i}.txt": b"" for i in range(20_001)}
    assert "more than 20,000 files" in read(zipped(more | {PLACE: TEXT})).notes[0]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "neither a zip nor a tar"),
        (b"Rar!\x1a\x07", "neither a zip nor a tar"),
        (b"PK\x03\x04 and then nonsense", "the archive is damaged: BadZipFile"),
        (b"\x1f\x8b nonsense", "the archive is damaged"),
        (tarred({PLACE: TEXT.encode()})[:-30], "damaged"),
        (zipped({PLACE: TEXT})[:-30], "the archive is damaged: BadZipFile"),
    ],
)
def test_damaged_archives_say_so(read, data, says):
    handed = read(data)
    assert not handed.labs and not handed.failure and says in " ".join([*handed.notes, *handed.refused.values()])


def test_a_damaged_member_costs_that_member(read):
    archive = bytearray(zipped({PLACE: TEXT}))
    archive[60:70] = b"0123456789"
    assert "damaged in the archive" in read(bytes(archive)).refused["1.1"]
    assert (
        "encrypted"
        in read(zipped({PLACE: TEXT}).replace(b"\x14\x00\x00\x00\x08", b"\x14\x00\x01\x00\x08")).refused["1.1"]
    )


def test_names_that_are_not_utf8(tmp_path):
    folder = os.fsencode(tmp_path) + b"/J\xf6rg"
    os.makedirs(folder + b"/h\xf6llo/" + os.fsencode(Path(PLACE).parent))
    Path(os.fsdecode(folder + b"/h\xf6llo/" + os.fsencode(PLACE))).write_text(TEXT)
    Path(os.fsdecode(folder + b"/\xff\x1b[31m.py")).symlink_to("nowhere")
    (source,), _ = submission.discover(tmp_path)
    assert source.name.isprintable() and source.name.startswith("J_rg-")
    handed = submission.read(source.path, [LAB])
    assert handed.labs["1.1"].text == TEXT
    for text in (handed.labs["1.1"].file, *handed.notes):
        text.encode("utf-8")
        assert text.isprintable()


def test_what_the_grader_cannot_read_is_its_own_trouble(tmp_path, monkeypatch):
    """Root reads everything, so the refusal of the disk is played."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "1.1.py").write_text(TEXT)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(archives, "_read_file", refuse)
    handed = submission.read(folder, [LAB])
    assert handed.broken["1.1"] == "1.1.py cannot be read: Permission denied" and not handed.refused
    (tmp_path / "anna.zip").write_bytes(zipped({PLACE: TEXT}))
    assert submission.read(tmp_path / "anna.zip", [LAB]).failure == "it cannot be read: Permission denied"


def test_the_submissions_of_a_folder(tmp_path):
    for name in ("anna", "Doe, Jo (2)", "empty", "__MACOSX", ".git"):
        (tmp_path / name).mkdir()
    for name in ("anna.zip", "carl.tar.gz", "dora.rar", "notes.txt", "-rf.zip", "..zip", "=cmd().tgz"):
        (tmp_path / name).write_bytes(b"")
    sources, ignored = submission.discover(tmp_path)
    names = [source.name for source in sources]
    assert {"anna", "anna.zip", "Doe, Jo (2)", "carl", "dora", "empty"} < set(names) and len(names) == len(
        set(names)
    ) == 8
    assert ignored == ["notes.txt: neither a folder nor an archive, ignored"]
    assert all(name == Path(name).name and name[0].isalnum() for name in names), names
    assert submission.read(tmp_path / "empty", [LAB]).notes == ["it holds no lab.py of the labs to be graded"]
    assert submission.read(tmp_path / "dora.rar", [LAB]).notes == ["it is neither a zip nor a tar archive"]


def test_the_digest_names_what_there_is_to_grade(read):
    first = read({PLACE: TEXT}, "a").digest
    assert read(zipped({PLACE: TEXT, "other.txt": b"x"})).digest == first
    assert read({PLACE: TEXT + "\n"}, "b").digest != first


def test_the_lab_file_of_a_folder(tmp_path):
    assert submission.lab_file(tmp_path, LAB) is None
    (tmp_path / "toy.py").write_text(TEXT)
    assert submission.lab_file(tmp_path, LAB) == tmp_path / "toy.py"
