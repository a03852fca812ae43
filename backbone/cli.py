"""The command line: ``sit certify | plot | demo | lint | convert``. Each subcommand imports only what it needs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

if TYPE_CHECKING:
    from interpolants import Schedule

__all__ = ["main"]

Names = Annotated[tuple[str, ...], tyro.conf.Positional]


def _schedules(names: Sequence[str], alpha: str | None, sigma: str | None) -> list[Schedule]:
    """Return the named schedules, or the one that the two expressions spell."""
    from interpolants import Schedule
    from interpolants.schedules import PAPER, by_name
    from solvers.errors import explain

    if (alpha is None) != (sigma is None):
        given = "--alpha" if sigma is None else "--sigma"
        raise ValueError(explain("both --alpha and --sigma", f"{given} alone", "give the other expression as well"))
    if alpha is not None:
        return [*map(by_name, names), Schedule("custom", alpha, sigma, check=False)]
    return [by_name(name) for name in (names or PAPER)]


def certify(
    names: Names = (),
    alpha: str | None = None,
    sigma: str | None = None,
    require: tuple[str, ...] = (),
    endpoints: bool = False,
    errors: bool = False,
    torch: bool = False,
    json_file: Annotated[Path | None, tyro.conf.arg(name="json", aliases=["--json-file"])] = None,
    replay: Path | None = None,
) -> int:
    """Prove or measure the properties of schedules, and print one table for each.

    Exits with status 1 where a required property fails, or where a replayed certificate does not hold.

    Args:
        names: built-in schedules; linear, gvp and vp when nothing is given.
        alpha: data coefficient of a schedule of your own, such as "1 - t**2".
        sigma: its noise coefficient, such as "t**2".
        require: the properties that must not fail, such as alpha_1; when absent, those the library relies on.
        endpoints: also print what every conversion and drift does at both ends.
        errors: also print the floating-point error of every quantity.
        torch: measure the errors in torch as well as in numpy.
        json_file: also write the certificates here.
        replay: check the certificates of this file again, instead of making new ones.
    """
    if replay is not None:
        return _replay(replay)
    from interpolants import certify as certify_schedule
    from interpolants.certify.ends import summary

    backends = ("numpy", "torch") if torch else ("numpy",)
    certificates = [certify_schedule(item, backends=backends) for item in _schedules(names, alpha, sigma)]
    failed = [certificate.failed(require) for certificate in certificates]
    for certificate in certificates:
        print(certificate.table(), end="\n\n" if certificate is not certificates[-1] or endpoints or errors else "\n")
        if endpoints:
            print(summary(certificate["endpoints"].details), end="\n\n")
        if errors:
            print(certificate.details("rounding"), end="\n\n")
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps([certificate.to_dict() for certificate in certificates], indent=1) + "\n")
    return 1 if any(failed) else 0


def _replay(file: Path) -> int:
    """Check the certificates of a file; print what does not hold."""
    from interpolants.certify import Certificate
    from solvers.errors import explain

    data = json.loads(file.read_text())
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data) or not data:
        raise ValueError(
            explain("a list of certificates", type(data).__name__, "write it with sit certify --json FILE")
        )
    status = 0
    for item in data:
        certificate = Certificate.from_dict(item)
        differences = certificate.replay()
        print(f"{certificate.schedule['name']}: {len(differences) or 'no'} differences", *differences, sep="\n  ")
        status = 1 if differences else status
    return status


def plot(
    figure: Annotated[
        Literal["schedules", "transport-cost", "path-length", "bounds", "trajectories"], tyro.conf.Positional
    ],
    names: Names = (),
    alpha: str | None = None,
    sigma: str | None = None,
    out: Path | None = None,
    csv: Path | None = None,
) -> int:
    """Draw a figure for schedules, write its numbers beside it, and say where both are.

    Args:
        figure: what to draw.
        names: built-in schedules; linear, gvp and vp when nothing is given.
        alpha: data coefficient of a schedule of your own, such as "1 - t**2".
        sigma: its noise coefficient, such as "t**2".
        out: PNG, SVG or PDF file, by its suffix; FIGURE.png when absent.
        csv: file for the numbers; that of the figure with the suffix .csv when absent.
    """
    from interpolants import plots

    page = plots.page(figure, _schedules(names, alpha, sigma))
    print(*plots.save(page, Path(f"{figure}.png") if out is None else out, csv), sep="\n")
    return 0


def demo(out: Path = Path("out/demo"), seed: int = 0, steps: int | None = None, samples: int | None = None) -> int:
    """Run everything once on real input: certificates, transport costs, trajectories, and a SiT trained on digits.

    Args:
        out: folder for the figures, certificates and report.json.
        seed: seed of every random draw.
        steps: training steps, instead of what the demonstration needs for its accuracy.
        samples: images to draw with each sampler, a multiple of ten.
    """
    from backbone.demo import run

    run(out, seed=seed, steps=steps, samples=samples)
    return 0


def lint(
    name: Annotated[str | None, tyro.conf.Positional] = None,
    option: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    show: Annotated[bool, tyro.conf.arg(name="list")] = False,
    finest: int = 256,
    json_file: Annotated[Path | None, tyro.conf.arg(name="json", aliases=["--json-file"])] = None,
) -> int:
    """Measure the true order of a sampler, of this library or of another, and compare it with what it claims.

    Exits with status 1 where the order is more than 0.25 below the claim, or none could be measured.

    Args:
        name: source:name, such as diffusers:DPMSolverMultistepScheduler, k_diffusion:sample_dpmpp_2m or solvers:Heun.
        option: key=value for the sampler, such as solver_order=3; may be given again.
        show: list the samplers instead.
        finest: the largest number of steps.
        json_file: also write the report here.
    """
    from solvers.errors import explain
    from solvers.order import choices, find, measure_order

    if show:
        for source, names in choices().items():
            print(source, *names, sep="\n  ")
        return 0
    if name is None:
        remedy = "write sit lint diffusers:DDIMScheduler; sit lint --list shows all"
        raise ValueError(explain("the name of a sampler", "none", remedy))
    report = measure_order(find(name, option), finest=finest)
    print(report.table())
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report.to_dict(), indent=1) + "\n")
    return 0 if report.ok else 1


def convert(
    source: Annotated[Path, tyro.conf.Positional],
    target: Annotated[Path, tyro.conf.Positional],
    weights: Literal["ema", "model"] | None = None,
    num_heads: int | None = None,
    schedule: str | None = None,
    prediction: str | None = None,
    reverse_time: bool = False,
    force: bool = False,
) -> int:
    """Turn a checkpoint of SiT, DiT or REPA into safetensors with its config inside, and print what was found.

    Args:
        source: a .pt file, or safetensors.
        target: the safetensors file to write.
        weights: which weights of a training checkpoint; ema where there are any.
        num_heads: attention heads, for a width that is not a published one.
        schedule: name of the schedule of the training, to keep in the file, such as linear.
        prediction: what the network predicts, to keep in the file, such as velocity.
        reverse_time: turn a network of SiT's code, for which time 1 is data, to time 0 for data; needs prediction.
        force: overwrite a file.
    """
    from backbone.convert import convert as run

    print(
        run(
            source,
            target,
            weights=weights,
            num_heads=num_heads,
            schedule=schedule,
            prediction=prediction,
            reverse_time=reverse_time,
            force=force,
        )
    )
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the exit status."""
    # Two idle threads that spin while another program wants the core slow training down six-fold.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    commands: dict[str, Callable[..., Any]] = {
        function.__name__: function for function in (certify, plot, demo, lint, convert)
    }
    try:
        status: int = tyro.extras.subcommand_cli_from_dict(
            commands,
            prog="sit",
            description="Stochastic interpolants: schedules, figures, the demo, the order of samplers, checkpoints.",
            args=arguments,
        )
        return status
    except (ValueError, TypeError, ImportError, OSError) as error:
        print(f"sit: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
