"""The file raises before there is anything to call.

rank: error
"""

raise AssertionError("1 passed in 0.01s")


def rank(words):
    return {}
