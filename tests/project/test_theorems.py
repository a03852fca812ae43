"""The page of the consistency suite has a section for each property, with its statement, its reason and its tests."""

import ast
import re
from pathlib import Path

from tests.support.ledger import PROPERTIES
from tests.support.scripts import script

ROOT = Path(__file__).resolve().parents[2]
SECTION = re.compile(
    r"^\(property-(\d+)\)=\n\n## (\d+)\. ([^\n]*)\n\n(.*?)^```\{property-tests\} (\d+)\n```$", re.M | re.S
)


def sections():
    return SECTION.findall((ROOT / "docs/consistency.md").read_text(encoding="utf-8"))


def test_every_property_has_its_section():
    """All twenty-five in order: label, number, the ledger's title, and the list of the same property's tests."""
    found = sections()
    assert [int(label) for label, *_ in found] == list(PROPERTIES) == list(range(1, 26))
    for label, number, title, _, listed in found:
        assert label == number == listed
        assert title.casefold() == PROPERTIES[int(number)].casefold()


def test_every_section_says_what_and_why():
    """A formula in the statement, before a reason that begins with Why."""
    for _, number, _, text, _ in sections():
        statement, why, reason = text.partition("**Why.**")
        assert "$" in statement, number
        assert why, number
        assert len(reason) > 60, number


def test_the_list_of_tests_is_that_of_the_suite():
    """What the page lists for a property is what a plain search for test functions finds; none is empty."""
    laws = script(ROOT / "docs/evidence.py").laws()
    assert set(laws) == set(PROPERTIES)
    for number, tests in laws.items():
        assert tests
        for file, name, _ in tests:
            tree = ast.parse((ROOT / "tests/consistency" / file).read_text(encoding="utf-8"))
            (node,) = (item for item in tree.body if getattr(item, "name", "") == name)
            assert name.startswith("test_")
            assert ast.get_docstring(node).startswith(f"Property {number}:")
    everything = "".join(path.read_text() for path in (ROOT / "tests/consistency").glob("*.py"))
    assert sum(map(len, laws.values())) == len(re.findall(r"^def test_", everything, re.M))
