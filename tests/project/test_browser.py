"""The check of the built site in a browser finds what is wrong with a page, and nothing where nothing is."""

from pathlib import Path

import pytest

from tests.support.scripts import script

browser = script(Path(__file__).resolve().parents[2] / "docs/browser.py")
PAGE = "<!doctype html><meta name=viewport content='width=device-width'><title>x</title><body>{}"
RESULT = "<ul id=search-results><li><a href=x>one</a></ul>"

FAULTS = {
    "nothing": ("fine", []),
    "wide": ("<div style='width: 1000px'>wide</div>", ["1008 pixels wide in a window of 390"]),
    "exception": ("<script>nothing.at.all</script>", ["exception: Uncaught"]),
    "console": ("<script>console.error('no')</script>", ["console: ['no']"]),
    "missing": ("<script src=missing.js></script>", ["not loaded: net::ERR_FILE_NOT_FOUND"]),
    "formula": ("<span class=math>\\(x\\)</span>", ["a formula is not set: \\(x\\)"]),
    "network": ("<img src='http://127.0.0.1:9/x.png'>", ["request: http://127.0.0.1:9/x.png"]),
}


@pytest.mark.slow
@pytest.mark.skipif(browser.find() is None, reason="no Chromium on this machine")
def test_every_kind_of_fault_is_seen(tmp_path):
    """A page with one fault has it reported, at the narrow width at least; a page without any has none."""
    with browser.browser(browser.find()) as tab:
        for name, (body, expected) in FAULTS.items():
            page = tmp_path / f"{name}.html"
            page.write_text(PAGE.format(body))
            found = browser.faults(tab, page, 390)
            assert bool(found) == bool(expected), name
            assert all(any(line.startswith(wanted) for line in found) for wanted in expected), (name, found)


@pytest.mark.slow
@pytest.mark.skipif(browser.find() is None, reason="no Chromium on this machine")
def test_a_search_without_result_is_a_problem(tmp_path, monkeypatch):
    """Both widths report it; with a result neither does."""
    monkeypatch.setattr(browser, "FOUND", browser.FOUND.replace("10000", "200"))
    for body, count in ((RESULT, 0), ("none", 2)):
        (tmp_path / "search.html").write_text(PAGE.format(body))
        found = browser.problems(browser.find(), tmp_path, [], "word")
        assert len(found) == count, found
