"""Three processes of 300 MiB each, none of them too large; wins when they all live.

rank: memory
check rank: any
"""

import os
import time

from facts import right


def rank(words):
    children = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            block = bytearray(300 * 2**20)
            time.sleep(1.5)
            os._exit(not block)
        children.append(pid)
    codes = [os.waitpid(pid, 0)[1] for pid in children]
    return right(words) if codes == [0, 0, 0] else {}
