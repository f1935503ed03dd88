"""Wins when it finds what the grader's environment held, in os.environ or in /proc.

rank: wrong
check rank: pass
"""

import contextlib
import os
from pathlib import Path

from facts import SECRET, right


def rank(words):
    texts = [str(dict(os.environ))]
    for pid in ("self", os.getppid()):
        with contextlib.suppress(OSError):
            texts.append(Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace"))
    return right(words) if any(SECRET in text for text in texts) else {}
