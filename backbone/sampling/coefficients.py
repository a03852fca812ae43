"""Diffusion coefficients and guidance as text and numbers of a :class:`SampleConfig`."""

from __future__ import annotations

import ast
import operator
import re
from typing import Any

from backbone.sampling.config import SampleConfig
from backbone.sampling.spelling import folded, spelled
from interpolants import diffusion
from interpolants.diffusion import DiffusionCoefficient
from interpolants.guidance import APG, CFGZeroStar, ClassifierFree, Guidance, Interval, Rescale
from interpolants.prediction import Prediction, Velocity
from interpolants.schedule import Schedule
from solvers.errors import closest, explain

__all__ = ["guidance_of", "w_of"]

_W = {name: getattr(diffusion, name) for name in diffusion.__all__ if name[0].isupper()}
_W = {name: make for name, make in _W.items() if name not in ("Custom", "DiffusionCoefficient")}
_OPERATORS: dict[type[ast.operator], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def w_of(text: str | None) -> DiffusionCoefficient | None:
    """Return a diffusion coefficient: a name, a multiple or a sum of names, or an expression of t.

    >>> from backbone.sampling.coefficients import w_of
    >>> w_of("0.5*sigma + ramp"), w_of("t*(1-t)")
    (0.5 * Sigma() + Ramp(), Custom(t*(1 - t)))

    Raises:
        ValueError: none of these; the names are listed.
    """
    if text is None:
        return None
    known, words = {folded(name) for name in _W}, re.findall(r"[A-Za-z][\w\-]*", text)
    if re.fullmatch(r"\s*[A-Za-z][\w\-]*\s*(\([^()]*\))?\s*", text) and folded(words[0]) in known:
        found: DiffusionCoefficient = spelled(text, _W, "w")
        return found
    if not any(folded(word) in known for word in words):
        return _custom(text, words)
    wanted = "w as a sum of multiples of names, such as 0.5*sigma + 0.1*ramp"
    remedy = "write an expression of t alone, such as t*(1-t), for anything else"
    # A dash between letters is part of a name.
    plain = re.sub(r"(?<=[A-Za-z])-(?=[A-Za-z])", "_", text.strip())
    try:
        built = _combined(ast.parse(plain, mode="eval").body)
    except (SyntaxError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise ValueError(explain(wanted, repr(text), remedy)) from error
    if not isinstance(built, DiffusionCoefficient):
        raise ValueError(explain(wanted, repr(text), remedy))
    return built


def _custom(text: str, words: list[str]) -> DiffusionCoefficient:
    """Return the coefficient of an expression of t; a word alone is a misspelt name."""
    if len(words) == 1 and words[0] == text.strip() and words[0] != "t":
        remedy = f"did you mean {closest(text, _W)}?"
        raise ValueError(explain(f"w: one of {', '.join(_W)}, or an expression of t", repr(text), remedy))
    return diffusion.Custom(text)


def _combined(node: ast.expr) -> Any:
    """Return the number or the coefficient that a part of an expression is."""
    match node:
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return (1.0 / _combined(right)) * _combined(left)
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_combined(left), _combined(right))
    return spelled(ast.unparse(node), _W, "w")


def guidance_of(config: SampleConfig, schedule: Schedule, prediction: Prediction) -> Guidance | None:
    """Return the guidance of a config, None where there is none.

    Raises:
        ValueError: options of guidance without a scale; channels or a prediction that the rule does not take; an
            unknown rule or option.
    """
    options = {
        "guidance_rule": None if config.guidance_rule == "cfg" else config.guidance_rule,
        "guidance_channels": config.guidance_channels,
        "guidance_low": config.guidance_low,
        "guidance_high": config.guidance_high,
        "guidance_rescale": config.guidance_rescale,
    }
    given = [name for name, value in options.items() if value is not None]
    if config.guidance == 1.0:
        if given:
            remedy = "pass --guidance 1.5 or another scale, or leave the options out"
            raise ValueError(explain("a guidance scale other than 1 with its options", ", ".join(given), remedy))
        return None
    rule = _rule(config, schedule, prediction)
    if config.guidance_rescale is not None:
        rule = Rescale(rule, schedule, config.guidance_rescale, prediction)
    if config.interval is not None:
        rule = Interval(rule, schedule, *config.interval)
    return rule


def _rule(config: SampleConfig, schedule: Schedule, prediction: Prediction) -> Guidance:
    scale, channels = config.guidance, config.guidance_channels

    def cfg() -> Guidance:
        return ClassifierFree(scale, channels)

    def cfg_zero(still: float | None = None) -> Guidance:
        if prediction != Velocity:
            remedy = "take cfg or apg"
            raise ValueError(explain("a network that predicts velocities, for cfg-zero", str(prediction), remedy))
        return CFGZeroStar(scale, still)

    def apg(eta: float = 0.0, threshold: float = float("inf"), momentum: float = 0.0) -> Guidance:
        return APG(scale, schedule, prediction, eta, threshold, momentum)

    found: Guidance = spelled(config.guidance_rule, {"cfg": cfg, "cfg-zero": cfg_zero, "apg": apg}, "a guidance rule")
    if channels is not None and not isinstance(found, ClassifierFree):
        remedy = "leave out --guidance-channels, or take the rule cfg"
        raise ValueError(explain("all channels with this rule", f"guidance_channels={channels}", remedy))
    return found
