"""An exception with 50 MB of message.

rank: error
"""


def rank(words):
    raise ValueError("PASS\n" * 10_000_000)
