"""Wins when it becomes root, mounts, or makes a user namespace.

rank: wrong
check rank: any
"""

import ctypes
import os

from facts import right


def rank(words):
    libc = ctypes.CDLL(None)
    tries = [
        libc.setresuid(0, 0, 0) == 0,
        libc.unshare(0x10000000) == 0,
        libc.mount(b"tmpfs", b"/mnt", b"tmpfs", 0, None) == 0,
        libc.chroot(b".") == 0,
    ]
    return right(words) if any(tries) and os.path.exists("/") else {}
