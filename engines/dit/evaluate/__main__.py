"""`python -m engines.dit.evaluate`."""

import sys

from engines.dit.evaluate.command import main

if __name__ == "__main__":
    sys.exit(main())
