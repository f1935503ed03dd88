"""The same noise around a right answer costs nothing.

rank: pass
"""

from facts import right


def rank(words):
    print("\033[2J\033[31m  wrong   rank  0/3\033[0m\n<script>alert(1)</script>\x00\x07")
    return right(words)
