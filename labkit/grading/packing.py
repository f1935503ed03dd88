"""Packs an autograder for Gradescope: setup.sh, run_autograder and the part of the repository they need."""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path

from labkit.catalogue import Lab
from labkit.files import write_atomically
from labkit.grading.release import copy_lab, copy_package, used_by

SCRIPTS = Path(__file__).parent / "gradescope"


def pack(target: Path, labs: list[Lab], tier: str = "container") -> None:
    """Writes the zip to upload. It grades ``labs`` on the given tier and refuses to run on a weaker one."""
    ids = [lab.id for lab in labs]
    used = {name for lab in labs for name in lab.uses}
    hidden = [f"{lab.phase.path.name}/{lab.path.name}" for lab in labs if lab.id not in used]
    words = {"@LABS@": " ".join(ids), "@OPTIONS@": " ".join(f"--lab {name}" for name in ids), "@TIER@": tier}
    words["@HIDDEN@"] = " ".join(["tests", *hidden])
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "repo"
        copy_package(root, {"grading/edition", "grading/gradescope"}, ())
        write_atomically(root / "README.md", f"An autograder for lab {', '.join(ids)}.\n")
        for lab in [*labs, *used_by(labs)]:
            copy_lab(root, lab)
        part = target.with_name(f".{target.name}.part")
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for script in ("setup.sh", "run_autograder"):
                text = (SCRIPTS / script).read_text(encoding="utf-8")
                for word, value in words.items():
                    text = text.replace(word, value)
                info = zipfile.ZipInfo(script)
                info.external_attr = 0o100755 << 16
                archive.writestr(info, text)
            for file in sorted(root.rglob("*")):
                if file.is_file():
                    archive.write(file, Path("repo") / file.relative_to(root))
        os.replace(part, target)
