"""Files that are whole or not there, and their digests."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["drafted", "sha256", "sha256_of_folder"]


@contextmanager
def drafted(target: Path, folder: Path) -> Iterator[Path]:
    """Give a name in ``folder`` to write to, which becomes ``target`` when all went well and vanishes when not.

    Args:
        target: the file, which is replaced.
        folder: on the same file system, because only there a rename is atomic.
    """
    # Random, for processes on several machines can share the folder and a number.
    draft = folder / f".{target.name}.{secrets.token_hex(6)}.draft"
    try:
        yield draft
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def sha256(file: Path) -> str:
    """Return the digest of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of_folder(folder: Path) -> str:
    """Return the digest of the lines that ``sha256sum *`` prints in a folder: names and digests of its files."""
    lines = (f"{sha256(file)}  {file.name}\n" for file in sorted(folder.iterdir()) if file.is_file())
    return hashlib.sha256("".join(lines).encode()).hexdigest()
