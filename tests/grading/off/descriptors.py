"""The check keeps the descriptors of its template."""

import os

os.closerange = lambda low, high: None
