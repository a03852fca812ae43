"""``python -m backbone.cli``, the same as ``sit``."""

import sys

from backbone.cli import main

if __name__ == "__main__":
    sys.exit(main())
