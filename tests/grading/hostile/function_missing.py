"""The function is taken away again.

rank: error
"""


def rank(words):
    return {}


del rank
