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
from dataclasses import asdict
from functools import cache
from pathlib import Path

from sympy import Expr, Symbol
from sympy import __version__ as sympy_version

from interpolants.lowering import Lowered, key, lower, recall, ships
from interpolants.measure import Domain

__all__ = ["folder", "searched"]

VARIABLE = "INTERPOLANTS_CACHE"
MAKERS = ("drafts", "endpoints", "lowering", "measure", "printing", "rewriting", "search")


def folder() -> Path:
    """Return where the forms are kept."""
    own, base = os.environ.get(VARIABLE), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own)
    return (Path(base) if base else Path.home() / ".cache") / "interpolants"


def searched(expression: Expr, symbol: Symbol, domain: Domain, floor: float) -> Lowered:
    """Return :func:`interpolants.lowering.lower`, from disk where it is there, and on disk afterwards."""
    if ships(expression, domain, floor):
        return lower(expression, symbol, domain, floor)
    name = key(expression, domain, floor)
    file = folder() / f"{hashlib.sha256(f'{version()} {name}'.encode()).hexdigest()[:32]}.json"
    found = _read(file, name)
    if found is not None:
        recall(expression, domain, floor, found)
        return lower(expression, symbol, domain, floor)
    result = lower(expression, symbol, domain, floor)
    with suppress(OSError):
        _write(file, json.dumps({"version": version(), "key": name, "lowered": asdict(result)}))
    return result


@cache
def version() -> str:
    """Return a digest of sympy's version and of the modules that search, print and measure."""
    digest = hashlib.sha256(sympy_version.encode())
    for name in MAKERS:
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()


def _read(file: Path, name: str) -> Lowered | None:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        if data["version"] != version() or data["key"] != name:
            return None
        return Lowered.from_dict(data["lowered"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _write(file: Path, text: str) -> None:
    """Write beside the file and rename: a reader sees all of it or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(temporary, file)
    except OSError:
        os.unlink(temporary)
        raise
