"""``python -m nnpy`` is the command ``nnpy``."""

import sys

from nnpy._commands.main import main

if __name__ == "__main__":
    sys.exit(main())
