"""What holds for every test: a folder of its own for forms that certify searches, and names that do not change."""

import os
import re
import tempfile

import pytest

os.environ["INTERPOLANTS_CACHE"] = tempfile.mkdtemp(prefix="interpolants-forms-")


def pytest_collection_modifyitems(items):
    """Refuse names with a memory address: two workers would collect different tests, and run none."""
    changing = [item.nodeid for item in items if re.search(r"0x[0-9a-f]{6,}", item.nodeid)]
    if changing:
        raise pytest.UsageError(f"expected names that are the same in every process; received {changing}; pass ids=")


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A folder of this test for the forms that certify searches."""
    monkeypatch.setenv("INTERPOLANTS_CACHE", str(tmp_path / "forms"))
    return tmp_path / "forms"
