"""Prints how long the import of a module takes once NumPy is imported: python benchmarks/import_time.py MODULE.

The output has the format of worker.py's. This program imports nothing else, because a module that is imported already would
not be counted.
"""

import sys
import time

import numpy as np  # noqa: F401 - not to be counted

before = time.perf_counter()
__import__(sys.argv[1])
print(f'{{"seconds": [{time.perf_counter() - before}]}}')
