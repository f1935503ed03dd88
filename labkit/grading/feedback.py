"""The page a student gets back: verdict, place, hint. Never an expected value, and nothing of theirs as markup.

A page is a list of blocks of plain text; the two writers below escape every text they print.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from labkit.grading.report import WHOLE
from labkit.grading.verdicts import Verdict

SHOWN = 3  # failing checks of one TODO
MEANING = {
    Verdict.WRONG: "It ran, but what came back is not right.",
    Verdict.NOT_STARTED: "Still as it was handed out.",
    Verdict.UNFINISHED: "It still reaches a raise NotImplementedError.",
    Verdict.ERROR: "It stopped with an error.",
    Verdict.MALFORMED: "It could not be read.",
    Verdict.TIMEOUT: "It took longer than a check may take.",
    Verdict.MEMORY: "It needed more memory than a check may take.",
    Verdict.SKIPPED: "It could not be judged.",
    Verdict.INFRA: "The grader itself failed. This is not your fault, and it is not your score.",
}
LAST_WORDS = (
    "Every check draws its inputs anew, and each TODO is judged with the other ones right. On your own machine labkit "
    "check shows you the values, too."
)
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse}td,th{border-bottom:1px solid #ddd;padding:.2rem .8rem .2rem 0;text-align:left}
h2{margin-top:2.5rem}dt{color:#666;font-size:.85rem}dd{margin:0 0 .5rem}"""


def pages(record: dict) -> tuple[str, str]:
    """The feedback of one record as Markdown and as HTML."""
    blocks = list(_blocks(record))
    return _markdown(blocks), _html(blocks, f"Feedback for {record['submission']}")


# ---------------------------------------------------------------- what it says


def _blocks(record: dict) -> Iterator[tuple]:
    yield "h1", f"Feedback for {record['submission']}"
    if record["infra"]:
        yield "p", "Part of the grading failed for a reason that is not yours, so there is no total yet."
    else:
        yield "p", f"{record['points']} of {record['max_points']} points."
    if record["notes"]:
        yield "list", record["notes"]
    for report in record["reports"]:
        yield from _lab(report)
    yield "p", LAST_WORDS


def _lab(report: dict) -> Iterator[tuple]:
    score = "the grader failed" if report["infra"] else f"{report['points']} of {report['max_points']} points"
    yield "h2", f"{report['lab']} {report['title']}: {score}"
    rows = [(todo["todo"], todo["verdict"], f"{todo['points']}/{todo['maximum']}") for todo in report["todos"]]
    yield "table", ("TODO", "verdict", "points"), rows
    quiet = (Verdict.PASS, Verdict.NOT_STARTED)
    for todo in report["todos"]:
        checks = [row for row in report["checks"] if (row["todo"] or WHOLE) == todo["todo"]]
        failing = [row for row in checks if row["verdict"] not in quiet]
        if todo["verdict"] == Verdict.PASS:
            remarks = dict.fromkeys(text for row in checks for text in row["remarks"])
            yield from (("p", f"{todo['todo']}: {text}") for text in remarks)
        if failing and todo["verdict"] not in quiet:
            yield "h3", f"{todo['todo']}: {todo['verdict']}"
            said: set[str] = set()
            for row in failing[:SHOWN]:
                yield "facts", list(_facts(row, said))
            if len(failing) > SHOWN:
                yield "p", f"{len(failing) - SHOWN} more of its {len(checks)} checks do not pass."
            only = f" --only {todo['todo']}" if todo["todo"] != WHOLE else ""
            yield "p", f"Look again with: labkit check {report['lab']}{only}"


def _facts(row: dict, said: set[str]) -> Iterator[tuple[str, str]]:
    if row["description"]:
        yield "what is asked", row["description"]
    meaning = MEANING[row["verdict"]]
    told = row["message"] and row["verdict"] != Verdict.INFRA  # the grader's troubles are the instructor's to read
    yield "what happened", f"{meaning[:-1]}: {row['message']}" if told else meaning
    if row["place"]:
        yield "where", row["place"]
    for sentence in row["diagnosis"]:
        if sentence not in said:
            yield "think about", sentence
        said.add(sentence)


# ---------------------------------------------------------------- how it is written


def _markdown(blocks: list[tuple]) -> str:
    lines = []
    for kind, *content in blocks:
        if kind in ("h1", "h2", "h3"):
            lines += [f"{'#' * int(kind[1])} {_md(content[0])}", ""]
        elif kind == "p":
            lines += [_md(content[0]), ""]
        elif kind == "list":
            lines += [*(f"- {_md(text)}" for text in content[0]), ""]
        elif kind == "facts":
            lines += [*(f"- *{_md(name)}:* {_md(text)}" for name, text in content[0]), ""]
        else:
            header, rows = content
            rule = "|".join(["---"] * len(header))
            lines += [f"| {' | '.join(header)} |", f"|{rule}|"]
            lines += [*(f"| {' | '.join(map(_md, row))} |" for row in rows), ""]
    return "\n".join(lines)


def _md(text: str) -> str:
    """Plain text for Markdown: no markup, HTML, maths, mention or link comes of it."""
    text = re.sub(r"([\\`*_\[\]|#~$@])", r"\\\1", html.escape(_flat(text), quote=False))
    return text.replace("://", ":\\/\\/").replace("www.", "www\\.")


def _html(blocks: list[tuple], title: str) -> str:
    body = []
    for kind, *content in blocks:
        if kind in ("h1", "h2", "h3", "p"):
            body.append(f"<{kind}>{_ht(content[0])}</{kind}>")
        elif kind == "list":
            body.append(f"<ul>{''.join(f'<li>{_ht(text)}</li>' for text in content[0])}</ul>")
        elif kind == "facts":
            body.append(f"<dl>{''.join(f'<dt>{_ht(name)}</dt><dd>{_ht(text)}</dd>' for name, text in content[0])}</dl>")
        else:
            header, rows = content
            cells = [f"<tr>{''.join(f'<td>{_ht(cell)}</td>' for cell in row)}</tr>" for row in rows]
            body.append(f"<table><tr>{''.join(f'<th>{cell}</th>' for cell in header)}</tr>{''.join(cells)}</table>")
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
    head += f"<title>{_ht(title)}</title><style>{STYLE}</style>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(body) + "\n</body></html>\n"


def _ht(text: str) -> str:
    return html.escape(_flat(text))


def _flat(text: str) -> str:
    """One line without control characters, whatever a stranger put into it."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(str(text).split()))
