"""Never comes back.

rank: timeout
patience: 0.1
"""


def rank(words):
    while True:
        pass
