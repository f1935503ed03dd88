"""Writes a file of 200 MiB and wins when there is room for it.

rank: error
"""

from facts import right


def rank(words):
    with open("labkit-hostile-fill", "wb") as file:
        for _ in range(200):
            file.write(bytes(2**20))
    return right(words)
