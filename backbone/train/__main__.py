"""``python -m backbone.train``, for torchrun: the same as ``sit train``."""

import sys

from backbone.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
