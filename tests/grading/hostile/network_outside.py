"""Wins when a packet may leave for the outside (an address reserved for documentation).

rank: error
check rank: any
"""

import socket

from facts import right


def rank(words):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.connect(("192.0.2.1", 9))
        link.send(b"x")
    return right(words)
