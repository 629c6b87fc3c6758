"""``python -m simclr.store``, see :mod:`simclr.command.store`."""

import sys

from simclr.command.store import main

if __name__ == "__main__":
    sys.exit(main())
