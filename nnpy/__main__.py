"""``python -m nnpy`` is the command ``nnpy``."""

import sys

from nnpy._cli import main

if __name__ == "__main__":
    sys.exit(main())
