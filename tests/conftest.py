"""What holds for every test: a folder of its own for searched forms, names that do not change, and two profiles.

``--hypothesis-profile=deep`` draws twenty times as many examples, new ones in every run.
"""

import os
import re
import tempfile
from collections import Counter

import pytest
from hypothesis import settings

from tests.support.ledger import record, table

settings.register_profile("deep", max_examples=2000, print_blob=True)

os.environ["INTERPOLANTS_CACHE"] = tempfile.mkdtemp(prefix="interpolants-forms-")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Refuse names with a memory address, for two workers would collect different tests; thin what is covered.

    ``covering(n)`` leaves every n-th case of a test to the first tier, beginning with the first; the second has all.
    """
    seen = Counter()
    for item in items:
        covering = item.get_closest_marker("covering")
        if covering is not None:
            name = item.nodeid.partition("[")[0]
            if seen[name] % covering.args[0]:
                item.add_marker("slow")
            seen[name] += 1
    # The documentation takes two minutes: begun last, one worker would wait for the other.
    items.sort(key=lambda item: item.path.name != "test_docs.py")
    changing = [item.nodeid for item in items if re.search(r"0x[0-9a-f]{6,}", item.nodeid)]
    if changing:
        raise pytest.UsageError(f"expected names that are the same in every process; received {changing}; pass ids=")


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A folder of this test for the forms that certify searches."""
    monkeypatch.setenv("INTERPOLANTS_CACHE", str(tmp_path / "forms"))
    return tmp_path / "forms"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    return (yield from record(item))


def pytest_terminal_summary(terminalreporter):
    """Print one line for each property of the mathematics that was tested, the worst error beside its budget."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    lines = table([report for report in reports if getattr(report, "when", "") == "call"])
    if lines:
        terminalreporter.section("properties: worst error of its budget")
        for line in lines:
            terminalreporter.write_line(line)
