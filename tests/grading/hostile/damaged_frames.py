"""A tensor of impossible shape and an array of impossible size.

lab: 1.2
double: malformed
"""

import json
import os
import struct


def double(t):
    node = {"k": "tensor", "dtype": "float32", "shape": [2**62, 0, 2**62], "grad": False, "at": 0, "size": 0}
    tree = json.dumps({"k": "dict", "type": "dict", "v": [["mutated", False], ["value", node]]}).encode()
    os.write(3, struct.pack("<4sIQ", b"LKW1", len(tree), 0) + tree)
    os._exit(0)
