"""Searched forms on disk, so that a second process need not search again.

One file per expression, in the folder ``$INTERPOLANTS_CACHE``, else ``$XDG_CACHE_HOME/interpolants``, else
``~/.cache/interpolants``. A file holds code, so it is used only where the key and the version in it are those asked
for; the version is a digest of the modules that make the code. Anything else there is ignored, and so is a folder that
cannot be written.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from sympy import __version__ as sympy_version

__all__ = ["folder", "read", "write"]

VARIABLE = "INTERPOLANTS_CACHE"
MAKERS = ("drafts", "endpoints", "lowering", "measure", "naming", "printing", "rewriting", "search", "stable")


def folder() -> Path:
    """Return where the forms are kept."""
    own, base = os.environ.get(VARIABLE), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own)
    return (Path(base) if base else Path.home() / ".cache") / "interpolants"


def read(name: str) -> dict[str, Any] | None:
    """Return what was written under ``name`` by the same version, or None."""
    if not folder().is_dir():
        return None
    try:
        data = json.loads(_file(name).read_text(encoding="utf-8"))
        if data["version"] == version() and data["key"] == name and isinstance(data["lowered"], dict):
            return dict(data["lowered"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    return None


def write(name: str, lowered: dict[str, Any]) -> None:
    """Keep ``lowered`` under ``name``, where the folder can be written."""
    with suppress(OSError):
        folder().mkdir(parents=True, exist_ok=True)
        _replace(_file(name), json.dumps({"version": version(), "key": name, "lowered": lowered}))


@cache
def version() -> str:
    """Return a digest of sympy's version and of the modules that search, print and measure."""
    digest = hashlib.sha256(sympy_version.encode())
    for name in MAKERS:
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()


def _file(name: str) -> Path:
    return folder() / f"{hashlib.sha256(f'{version()} {name}'.encode()).hexdigest()[:32]}.json"


def _replace(file: Path, text: str) -> None:
    """Write beside the file and rename: a reader sees all of it or nothing."""
    handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(temporary, file)
    except OSError:
        os.unlink(temporary)
        raise
