"""A list in a list in a list ... ten thousand times.

rank: wrong|malformed|error
"""


def rank(words):
    nest = []
    for _ in range(10_000):
        nest = [nest]
    return nest
