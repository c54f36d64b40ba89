"""Run the command ``nnpy`` as ``python -m nnpy``."""

import sys

from nnpy._commands.main import main

if __name__ == "__main__":
    sys.exit(main())
