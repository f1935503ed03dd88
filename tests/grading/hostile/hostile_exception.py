"""An exception that is everything at once, and breaks whoever looks at it.

rank: memory
"""


class Everything(ValueError, AssertionError, NotImplementedError, MemoryError):
    def __str__(self):
        raise self

    __repr__ = __str__

    @property
    def args(self):
        raise self


def rank(words):
    raise Everything("TODO rank")
