"""A number of 40,000 digits, which Python refuses to print.

rank: wrong
"""


def rank(words):
    return dict.fromkeys(words, 10**40000)
