"""``python -m simclr.data``, see :mod:`simclr.command.data`."""

import sys

from simclr.command.data import main

if __name__ == "__main__":
    sys.exit(main())
