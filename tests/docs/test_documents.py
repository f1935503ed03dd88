"""The documents: links and images exist, maths is well-formed, commands run, numbers are those that were measured."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from labkit import catalogue, generate

ROOT = Path(__file__).resolve().parents[2]
FILES = subprocess.run(
    ["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True
)
ELSEWHERE = ("tests/", "labkit/grading/edition/")  # toys, and the template of another repository's README
DOCUMENTS = sorted(
    ROOT / name
    for name in FILES.stdout.split("\n")
    if name and not name.startswith(ELSEWHERE) and (ROOT / name).is_file()
)
IDS = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
LABS = catalogue.labs()

LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
HTML_IMAGE = re.compile(r"<img\b[^>]*>")
FENCE = re.compile(r"^(?P<before>[^\n]*)\n```(?P<info>[^\n`]*)\n(?P<body>.*?)^```\s*$", re.M | re.S)
NUMBER = re.compile(r"(?P<number>-?\d[\d,]*(?:\.\d+)?)(?P<unit>[^\d<|\n]{0,12}?)<!--=(?P<key>[\w.:+-]+)-->")
ANCHOR = re.compile(r"<!--=([\w.:+-]+)-->")


@pytest.fixture(params=DOCUMENTS, ids=IDS)
def document(request) -> Path:
    return request.param


def prose(path: Path) -> str:
    """The text without code: links and dollars in code are just characters."""
    text = FENCE.sub(lambda m: m["before"] + "\n", "\n" + path.read_text(encoding="utf-8"))
    return re.sub(r"`[^`\n]+`", "`code`", text)


def slug(heading: str) -> str:
    """The anchor GitHub gives a heading."""
    heading = re.sub(r"<[^>]*>|[`*]", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")


def test_links_and_images_exist(document):
    problems = []
    for image, text, target in LINK.findall(prose(document)):
        if image and not text.strip():
            problems.append(f"image {target} has no alt text")
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists():
            problems.append(f"{target} does not exist")
        elif anchor and file.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.M)
            if anchor not in {slug(heading) for heading in headings}:
                problems.append(f"{target}: no such heading")
    for tag in HTML_IMAGE.findall(prose(document)):
        source = re.search(r'src="([^"]+)"', tag)
        if source is None or not (document.parent / source[1]).exists():
            problems.append(f"{tag}: no such image")
        if not re.search(r'alt="[^"]+"', tag):
            problems.append(f"{tag}: no alt text")
    assert not problems, problems


def test_maths_is_well_formed(document):
    text = prose(document).replace("\\$", "")
    assert text.count("$$") % 2 == 0, "an odd number of $$"
    display = re.findall(r"\$\$(.*?)\$\$", text, flags=re.S)
    inline = re.findall(r"\$([^$\n]+)\$", re.sub(r"\$\$.*?\$\$", "", text, flags=re.S))
    for formula in [*display, *inline]:
        assert formula.strip(), "an empty formula"
        braces = re.sub(r"\\[{}]", "", formula)
        assert braces.count("{") == braces.count("}"), f"unbalanced braces: {formula}"
        assert len(re.findall(r"\\left\b", formula)) == len(re.findall(r"\\right\b", formula)), formula
        assert len(re.findall(r"\\begin\b", formula)) == len(re.findall(r"\\end\b", formula)), formula
    left = re.sub(r"\$\$.*?\$\$", "", text, flags=re.S)
    for line in left.splitlines():
        assert line.count("$") % 2 == 0, f"a lone dollar sign: {line}"


def test_fences_are_closed_and_named(document):
    text = document.read_text(encoding="utf-8")
    assert len(re.findall(r"^```", text, flags=re.M)) % 2 == 0, "a fence is not closed"
    unnamed = [m["body"][:40] for m in FENCE.finditer("\n" + text) if not m["info"].strip()]
    assert not unnamed, f"fences without a language: {unnamed}"


def results_of(document: Path, name: str) -> dict:
    file = document.parent / "figures" / f"{name}.json"
    assert file.is_file(), f"{file.relative_to(ROOT)} does not exist: run `make figures`"
    record = json.loads(file.read_text(encoding="utf-8"))
    return {key: record[key] for key in ("seconds", "cpu_seconds") if key in record} | record["results"]


def measured(results: dict, key: str) -> float:
    value = results
    for part in key.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def test_numbers_are_those_that_were_measured(document):
    text = re.sub(r"`[^`\n]+`", "`code`", document.read_text(encoding="utf-8"))
    found = list(NUMBER.finditer(text))
    assert len(found) == len(ANCHOR.findall(text)), "an anchor without a number right before it"
    for match in found:
        name, _, key = match["key"].rpartition(":")
        value = measured(results_of(document, name or "results"), key)
        printed = match["number"].replace(",", "")
        digits = len(printed.partition(".")[2])
        if "%" in match["unit"]:
            value *= 100
        assert abs(float(printed) - value) <= 0.5000001 * 10**-digits, f"{match[0]}: measured {value}"


def test_shown_output_is_what_was_printed(document):
    for match in FENCE.finditer("\n" + document.read_text(encoding="utf-8")):
        if "<!--output-->" not in match["before"]:
            continue
        lines = (document.parent / "figures" / "output.txt").read_text(encoding="utf-8").splitlines()
        lines = [line.rstrip() for line in lines]
        position, gap = 0, True
        for line in (line.rstrip() for line in match["body"].splitlines()):
            if line.strip() == "...":
                gap = True
                continue
            rest = lines[position:] if gap else lines[position : position + 1]
            assert line in rest, f"not in output.txt (in this order): {line!r}"
            position += rest.index(line) + 1
            gap = False


COMMANDS = [
    pytest.param(path, match["body"], id=f"{path.relative_to(ROOT)}:{number}")
    for path in DOCUMENTS
    for number, match in enumerate(FENCE.finditer("\n" + path.read_text(encoding="utf-8")))
    if match["info"].strip() == "bash" and "<!--not run:" not in match["before"]
]


@pytest.mark.parametrize(("path", "body"), COMMANDS)
def test_commands_run(path, body, tmp_path):
    """Shell blocks run in the document's folder, with this Python first on the path; results go to a scratch folder."""
    import os

    folder = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    commands = [line.split("#")[0].strip() for line in body.replace("\\\n", " ").splitlines()]
    for command in filter(None, commands):
        shown = re.sub(r"^(python (?:solution|bench)\.py.*)$", rf"\1 --out {tmp_path}", command)
        done = subprocess.run(["bash", "-c", shown], cwd=path.parent, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.id)
def test_readmes_of_labs_have_their_sections(lab):
    text = (lab.path / "README.md").read_text(encoding="utf-8")
    wanted = ["Mission", "The maths", "Walkthrough", "Expected output", "Pitfalls", "How it is graded"]
    wanted += ["Interview", "Resume bullet", "Extensions", "References"]
    headings = re.findall(r"^## (.+)$", text, flags=re.M)
    missing = [name for name in wanted if not any(heading.startswith(name) for heading in headings)]
    assert not missing, f"README.md lacks {missing}"
    first_screen = text[: text.index("\n## ")]
    assert "```bash" in first_screen and "<!--output-->" in first_screen and "![" in first_screen
    assert text.count("<details>") == text.count("</details>") >= 4


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.id)
def test_figures_are_shown_and_were_made(lab):
    shown = set(re.findall(r"\((figures/[^)]+\.png)\)", (lab.path / "README.md").read_text(encoding="utf-8")))
    made = {f"figures/{file.name}" for file in (lab.path / "figures").glob("*.png")}
    assert shown == made, f"shown but not made: {shown - made}; made but not shown: {made - shown}"


def test_the_tables_of_labs_agree_with_the_labs():
    """Minutes, difficulty and links in the READMEs of the course and its phases come from lab.toml."""
    for readme, table in generate.lab_tables().items():
        found = generate.TABLE.search(readme.read_text(encoding="utf-8"))
        assert found is not None and found[0] == table, f"{readme.relative_to(ROOT)}: run `make skeletons`"


BANNED = re.compile(r"/work/|/tmp/|/root/|pypi\.org|files\.pythonhosted|registry\.npmjs", re.I)


def test_no_document_names_a_machine():
    for path in DOCUMENTS:
        found = BANNED.findall(path.read_text(encoding="utf-8"))
        assert not found, f"{path.relative_to(ROOT)}: {found}"
