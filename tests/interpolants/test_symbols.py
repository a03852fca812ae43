"""Reading expressions: safe, exact, and clear about what is wrong."""

import os

import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from sympy import I, Rational, Symbol

from interpolants import Schedule, t
from interpolants.symbols import L, canonical, derivative, parse
from tests.support.strategies import law
from tests.support.zoo import CASES


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch pwned')",
        "().__class__.__bases__[0].__subclasses__()",
        "t.__class__",
        "open('pwned', 'w')",
        "(lambda: 1)()",
        "[x for x in (1,)]",
        "exec('import os')",
        "eval('1')",
        "sympify('t')",
        "t if t else 1",
        "sqrt(t, evaluate=False)",
        "exp(*[t])",
        "'t'",
        "1 < t",
        "t and 1",
        "f'{t}'",
        "t := 1",
        "1j * t",
        "x",
        "",
        "1 -",
        "t @ t",
        "~t",
        "\x00",
    ],
)
def test_parse_refuses_everything_but_arithmetic(text, tmp_path, monkeypatch):
    """Text that is not arithmetic of t is a ValueError in three parts, and none of it is executed."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"(?s)expected .*; received .*; remedy: "):
        parse(text)
    assert os.listdir(tmp_path) == []


def test_parse_refuses_deep_nesting():
    """A bomb of parentheses or operators is an error, not a crash of the interpreter."""
    for text in ("(" * 5000 + "t" + ")" * 5000, "-" * 20000 + "t"):
        with pytest.raises((ValueError, MemoryError)):
            parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 - t**2", 1 - t**2),
        ("0.1", Rational(1, 10)),
        ("1e-3*t", t / 1000),
        ("sqrt(1 - exp(-t))", sympy.sqrt(1 - sympy.exp(-t))),
        ("2*atan(exp(-L/2))/pi", 2 * sympy.atan(sympy.exp(-L / 2)) / sympy.pi),
        ("+t - -1", t + 1),
        ("E**t", sympy.exp(t)),
        ("Abs(t)", t),
    ],
)
def test_parse_reads_arithmetic(text, expected):
    """Arithmetic, the listed functions and constants become the same expression, with exact numbers."""
    assert parse(text) == expected


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_parse_inverts_str(case):
    """α and σ are read back from their text as the same expressions, the others as equal at 50 digits."""
    for name, expression in case.schedule.expressions.items():
        again = parse(str(expression))
        assert again == expression or name not in ("alpha", "sigma")
        assert abs(sympy.N((again - expression).subs(t, Rational(3, 7)), 50)) < 1e-45


@given(number=st.floats(-1e6, 1e6, allow_nan=False, allow_subnormal=False))
@law(60)
def test_floats_are_exact_decimals(number):
    """A float becomes the rational that its shortest decimal text denotes, and comes back as the same float."""
    found = canonical(number * t, "alpha").coeff(t) if number else canonical(number, "alpha")
    assert not found.atoms(sympy.Float)
    assert found == Rational(repr(number))
    assert float(found) == number


@pytest.mark.parametrize(
    "symbol", [Symbol("t"), Symbol("t", real=True), Symbol("s"), Symbol("time", positive=True)], ids=str
)
def test_foreign_symbols_are_time(symbol):
    """An expression of one foreign symbol is the same function of our t."""
    assert canonical(1 - symbol**2, "alpha") == 1 - t**2
    assert Schedule("a", 1 - symbol, symbol) == Schedule("b", 1 - t, t)


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (object(), TypeError, "a sympy expression for alpha"),
        ([1, 2], TypeError, "a sympy expression for alpha"),
        (None, TypeError, "a sympy expression for alpha"),
        pytest.param(sympy.Matrix([1]), TypeError, "scalar"),
        (t * Symbol("k"), ValueError, "the only free symbol"),
        (sympy.Function("f")(t), ValueError, "known functions"),
        (I * t, ValueError, "real expression"),
        (sympy.zoo, ValueError, "real expression"),
        (sympy.nan, ValueError, "real expression"),
        (sympy.oo * t, ValueError, "real expression"),
        (float("nan"), ValueError, "real expression"),
        (float("inf"), ValueError, "real expression"),
        (t < 1, TypeError, "scalar"),
        (True, TypeError, "scalar"),
    ],
)
def test_canonical_refuses(value, kind, words):
    """What is not one real expression of one symbol is an error that says expected, received, remedy."""
    with pytest.raises(kind, match=words) as error:
        canonical(value, "alpha")
    assert all(part in str(error.value) for part in ("expected ", "; received ", "; remedy: "))


def test_derivative_is_exact():
    """The derivative is the sympy derivative in t."""
    assert derivative(t**3 + sympy.exp(2 * t)) == 3 * t**2 + 2 * sympy.exp(2 * t)
