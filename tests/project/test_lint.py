"""``sit lint``: what it prints, writes and returns."""

import json
from pathlib import Path

import pytest

from backbone.cli import main
from solvers.order import choices, find, measure_order

ROOT = Path(__file__).resolve().parents[2]


def test_a_method_that_keeps_its_label(tmp_path, capsys):
    """Third-order DPM-Solver++ of this library: order 3, status 0, a table and a file of JSON."""
    file = tmp_path / "new" / "report.json"
    assert main(["lint", "solvers:DPMSolverPP", "--option", "order=3", "--json", str(file)]) == 0
    out = capsys.readouterr().out
    assert "as claimed (3)" in out
    for label in ("observed order", "error constant", "evaluations", "variance error", "at the end", "round-off"):
        assert label in out
    report = json.loads(file.read_text())
    assert abs(report["observed"] - 3) < 0.15
    assert (report["claimed"], report["ok"]) == (3.0, True)
    assert set(report["fits"]) == {"manufactured", "mixture"}


def test_options_may_be_given_again(capsys):
    """--option twice sets two."""
    assert main(["lint", "solvers:UniPC", "--option", "order=1", "--option", "corrector=false", "--finest", "64"]) == 0
    assert "UniPC(order=1, corrector=False" in capsys.readouterr().out


@pytest.mark.covering(2)
@pytest.mark.parametrize(
    ("order", "words", "status"),
    [("3", "below the claimed 3", 1), ("2", "as claimed (2)", 0)],
)
def test_a_scheduler_that_does_not_keep_its_label(order, words, status, capsys):
    """Third-order DPM-Solver++ of diffusers is order 2: status 1; the second-order one is order 2: status 0."""
    pytest.importorskip("diffusers")
    command = ["lint", "diffusers:DPMSolverMultistepScheduler", "--option", f"solver_order={order}"]
    assert main([*command, "--finest", "128"]) == status
    out = capsys.readouterr().out
    assert words in out
    observed = float(next(line for line in out.splitlines() if "observed" in line).split()[-1])
    assert abs(observed - 2) < 0.25


def test_the_list_names_every_source(capsys):
    """--list prints the choices, without running or importing anything."""
    assert main(["lint", "--list"]) == 0
    out = capsys.readouterr().out.split()
    assert {"solvers", "diffusers", "k_diffusion", "torchdiffeq", "scipy", "diffrax", "flow_matching", "azula"} <= set(
        out
    )
    assert {"DPMSolverPP", "UniPCMultistepScheduler", "sample_dpmpp_2m", "rk4", "RK45"} <= set(out)


def test_the_table_of_the_documentation_names_every_sampler_and_can_be_measured_again():
    """benchmarks/results/sampler_orders.json has a row for each choice; a part of it is measured again."""
    rows = json.loads((ROOT / "benchmarks/results/sampler_orders.json").read_text())["rows"]
    names = {f"{source}:{name}" for source, found in choices().items() for name in found}
    assert {row["sampler"] for row in rows} == names
    for row in rows:
        if row["sampler"] in ("solvers:Heun", "solvers:EulerMaruyama", "scipy:RK23"):
            report = measure_order(find(row["sampler"], row["options"]))
            assert report.observed == pytest.approx(row["observed"], abs=1e-3)
            assert (report.ok, list(report.evaluations)) == (row["kept"], row["evaluations"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "sit lint --list"),
        (["Heun"], "source:name"),
        (["solvers:Hein"], "did you mean 'Heun'"),
        (["solvers:DPMSolverPP", "--option", "ordr=3"], "did you mean 'order'"),
        (["solvers:DPMSolverPP", "--option", "order=x"], "order: int"),
        (["solvers:DPMSolverPP", "--option", "order=7"], "one of 1, 2, 3"),
        (["solvers:Heun", "--finest", "8"], "at least 32"),
        (["scipy:LSODA"], "RK23, RK45, DOP853"),
    ],
)
def test_bad_input_is_named(arguments, words, capsys):
    """Status 2 and one line with what was expected, what came, and what to do."""
    assert main(["lint", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert all(word in error for word in ("expected", "received", "remedy"))
    assert len(error.strip().splitlines()) == 1
