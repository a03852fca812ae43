"""Docstrings as plain text, for a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["plain", "plain_docstrings"]


def plain(text: str) -> str:
    r"""Return a docstring without its markup: ``:math:`S``` becomes S, and two backticks nothing."""
    text = re.sub(r":[a-z:]+:`~?([^`<]*?)(?: <[^`]*>)?`", r"\1", text)
    return re.sub(r"``(.+?)``", r"\1", text, flags=re.DOTALL)


@contextmanager
def plain_docstrings(*classes: type) -> Iterator[None]:
    """Take the markup out of the docstrings of classes, which their help is made of, for as long as the block lasts."""
    before = {item: item.__doc__ for item in classes}
    try:
        for item, text in before.items():
            item.__doc__ = plain(text or "")
        yield
    finally:
        for item, text in before.items():
            item.__doc__ = text
