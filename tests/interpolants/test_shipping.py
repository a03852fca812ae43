"""lowered.json holds all that the built-in schedules need, and its code is right."""

import json
import random

import numpy as np

from interpolants.lowering import TABLE, Lowered, key
from interpolants.measure import Exact, ulp_errors
from interpolants.shipping import expressions


def test_every_expression_ships():
    """The table has an entry for every expression of the list, and no other."""
    wanted = {key(expression, domain, floor) for expression, _, domain, floor in expressions()}
    assert set(json.loads(TABLE.read_text())) == wanted


def test_shipped_code_is_right_here():
    """Thirty entries drawn by a fixed seed: shipped code, run on this machine, is within 16 ulp of 200 digits."""
    table = json.loads(TABLE.read_text())
    entries = sorted(expressions(), key=lambda entry: key(entry[0], entry[2], entry[3]))
    for expression, symbol, domain, floor in random.Random(5).sample(entries, 30):
        shipped = Lowered.from_dict(table[key(expression, domain, floor)])
        exact = Exact(expression, symbol, domain)
        assert shipped.ends == exact.ends
        for dtype in (np.float64, np.float32):
            with np.errstate(all="ignore"):
                got = shipped.function(np, "array")(exact.probes.astype(dtype))
            errors = ulp_errors(got, exact.values(exact.probes), floor=floor) / exact.allowance(exact.probes)
            assert errors.max() <= 16, shipped.forms


def test_every_entry_is_within_budget():
    """Every shipped function was measured within 16 ulp at all probes, in float32 and float64."""
    over = {name: entry["error"] for name, entry in json.loads(TABLE.read_text()).items() if entry["error"] > 16}
    assert not over
