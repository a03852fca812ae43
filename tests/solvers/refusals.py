"""What the tests of errors share: a field that remembers its calls, and the demand for three parts."""

import pytest

from solvers import solve

PARTS = ("expected ", "; received ", "; remedy: ")


class Recorder:
    """A field that remembers whether it was called."""

    def __init__(self, answer=lambda time, x: -x):
        self.calls = []
        self.answer = answer

    def __call__(self, time, x):
        self.calls.append(time)
        return self.answer(time, x)


def refused(kind, words, *args, **kwargs):
    """Solve, demand an error of three parts that matches, and return it."""
    with pytest.raises(kind, match=words) as error:
        solve(*args, **kwargs)
    assert all(part in str(error.value) for part in PARTS), str(error.value)
    return error.value
