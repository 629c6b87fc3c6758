"""``python -m simclr.report``, see :mod:`simclr.command.report`."""

import sys

from simclr.command.report import main

if __name__ == "__main__":
    sys.exit(main())
