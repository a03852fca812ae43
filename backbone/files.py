"""Files that are either the old one or the whole new one, even if the machine stops in between."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from solvers.errors import explain

__all__ = ["drop_drafts", "locked", "replaced", "sha256", "sha256_of_folder", "write_text"]


@contextmanager
def replaced(target: Path, folder: Path | None = None) -> Iterator[Path]:
    """Give a name to write to; at the end its file takes the target's place.

    If the block raises, the target stays as it was and the draft is removed. A draft that a killed process left is
    overwritten by nothing and does no harm: its name begins with a dot and ends in ``.part``.

    Args:
        target: the file.
        folder: where the draft is written, on the same file system, because only there a rename is atomic; None is
            beside the target.
    """
    # Random, for processes on several machines can share the folder and a number.
    draft = (target.parent if folder is None else folder) / f".{target.name}.{secrets.token_hex(6)}.part"
    try:
        yield draft
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(target.parent)


def write_text(target: Path, text: str) -> None:
    """Write a file of text whole or not at all."""
    with replaced(target) as draft:
        draft.write_text(text, encoding="utf-8")


def drop_drafts(folder: Path) -> None:
    """Remove the drafts that killed processes left; nobody else may be writing there."""
    for draft in folder.glob(".*.part"):
        draft.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Have a folder to oneself for as long as the block lasts, or the process lives.

    The lock is the operating system's, on a file ``.lock`` that says who has it. Systems and file systems without such
    locks have none.

    Raises:
        OSError: another process has it.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (folder / ".lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            remedy = "wait for it, end it, or choose another folder"
            raise OSError(explain(f"{folder} to itself", f"it is in use by {file.read()}", remedy)) from error
        except OSError as error:
            # File systems of clusters are often mounted without locks.
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of_folder(folder: Path) -> str:
    """Return the digest of the lines that ``sha256sum *`` prints in a folder: names and digests of its files."""
    lines = (f"{sha256(file)}  {file.name}\n" for file in sorted(folder.iterdir()) if file.is_file())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; Windows cannot open a folder and does not need it."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
