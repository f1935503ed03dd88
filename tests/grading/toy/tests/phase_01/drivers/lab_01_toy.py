"""Drivers of the toy lab."""


def everything(lab, x, words):
    return lab.spread(x), lab.rank(words)
