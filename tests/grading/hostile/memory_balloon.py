"""Takes 900 MiB and wins when it gets them.

rank: memory
"""

from facts import right


def rank(words):
    block = bytearray(900 * 2**20)
    return right(words) if block else {}
