"""A number of 40,000 digits, which Python refuses to print.

rank: wrong
"""


def rank(words):
    return {word: 10**40_000 for word in words}
