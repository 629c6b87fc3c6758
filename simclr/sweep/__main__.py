"""``python -m simclr.sweep``, see :mod:`simclr.command.sweep`."""

import sys

from simclr.command.sweep import main

if __name__ == "__main__":
    sys.exit(main())
