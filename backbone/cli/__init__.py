"""The command line: a file for each subcommand of ``sit``, importing only what it needs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from backbone.cli.certify import certify
from backbone.cli.convert import convert
from backbone.cli.demo import demo
from backbone.cli.ema import ema
from backbone.cli.encode import encode
from backbone.cli.evaluate import evaluate
from backbone.cli.lint import lint
from backbone.cli.plain import plain_docstrings
from backbone.cli.plot import plot
from backbone.cli.reproduce import reproduce
from backbone.cli.sample import sample
from backbone.cli.train import CONFIGS
from backbone.cli.train import command as train

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the exit status."""
    # Two idle threads that spin while another program wants the core slow training down six-fold.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        functions = (certify, plot, demo, encode, train(given), sample, reproduce, evaluate, ema, convert, lint)
        commands: dict[str, Callable[..., Any]] = {function.__name__: function for function in functions}
        with plain_docstrings(*CONFIGS):
            status: int = tyro.extras.subcommand_cli_from_dict(
                commands,
                prog="sit",
                description="Stochastic interpolants: schedules, figures, latents, training, samples, evaluation.",
                args=given,
            )
        return status
    except (ValueError, TypeError, ImportError, OSError) as error:
        print(f"sit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sit: interrupted", file=sys.stderr)
        return 130
