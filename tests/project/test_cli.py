"""The command line: what it prints, writes and returns, and how it says no."""

import json

import pytest

from backbone.cli import main
from interpolants import Schedule


def test_certify_prints_a_table_for_every_built_in(capsys):
    """`sit certify` certifies all built-in schedules and exits with 0."""
    assert main(["certify"]) == 0
    out = capsys.readouterr().out
    assert [line.split(":")[0] for line in out.splitlines() if line and not line.startswith(" ")] == [
        "linear",
        "gvp",
        "vp",
    ]
    assert "proved" in out
    assert "Fokker-Planck" in out


def test_certify_fails_where_a_required_property_fails(capsys):
    """A schedule that starts at α ≠ 1 exits with 1 and shows the value."""
    assert main(["certify", "--alpha", "1/(1+exp(10*t-5))", "--sigma", "1-1/(1+exp(10*t-5))"]) == 1
    assert "alpha(0) = 0.993307" in capsys.readouterr().out


def test_certify_writes_json_that_rebuilds_the_schedule(tmp_path, capsys):
    """--json-file holds the certificate and a schedule that from_dict accepts."""
    file = tmp_path / "new" / "certificates.json"
    assert main(["certify", "--alpha", "1 - t**2", "--sigma", "t**2", "--json-file", str(file)]) == 0
    (certificate,) = json.loads(file.read_text())
    assert certificate["ok"]
    assert Schedule.from_dict(certificate["schedule"]) == Schedule("any", "1 - t**2", "t**2")


@pytest.mark.parametrize(("require", "status"), [(["alpha_0"], 0), (["alpha_0", "alpha_1"], 1)])
def test_certify_fails_where_a_property_that_is_asked_for_fails(require, status, capsys):
    """VP does not reach α = 0: no failure by default, one where alpha_1 is required."""
    assert main(["certify", "vp", "--require", *require]) == status


def test_certify_prints_ends_and_errors(capsys):
    """--endpoints has a line for every conversion and drift, --errors one for every quantity and type."""
    assert main(["certify", "linear", "--endpoints", "--errors"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (score,) = [line for line in lines if line.startswith("Velocity to Score ")]
    assert score.split()[3:7] == ["pole", "-1", "pole", "-1"]
    assert sum("float32" in line and line.startswith("kappa") for line in lines) == 1


def test_certificates_replay_from_a_file(tmp_path, capsys):
    """--replay accepts what --json wrote, and exits with 1 where a number in it was changed."""
    file = tmp_path / "linear.json"
    assert main(["certify", "linear", "--json", str(file)]) == 0
    assert main(["certify", "--replay", str(file)]) == 0
    assert "linear: no differences" in capsys.readouterr().out
    data = json.loads(file.read_text())
    data[0]["findings"][4]["witness"]["value"] = 0.5
    file.write_text(json.dumps(data))
    assert main(["certify", "--replay", str(file)]) == 1
    assert "linear: 1 differences" in capsys.readouterr().out
    file.write_text("{}")
    assert main(["certify", "--replay", str(file)]) == 2


@pytest.mark.parametrize("figure", ["schedules", "transport-cost", "trajectories"])
@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plot_writes_the_figure(figure, suffix, tmp_path, capsys):
    """`sit plot` writes the file it is given and prints its name."""
    file = tmp_path / f"figure.{suffix}"
    assert main(["plot", figure, "linear", "--out", str(file)]) == 0
    assert file.stat().st_size > 5000
    assert capsys.readouterr().out.strip() == str(file)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["certify", "lineer"], ["linear, gvp, vp", "did you mean 'linear'"]),
        (["certify", "--alpha", "1 - t"], ["both --alpha and --sigma", "--alpha alone"]),
        (["certify", "--alpha", "__import__('os')", "--sigma", "t"], ["an expression such as"]),
        (["certify", "--alpha", "a - t", "--sigma", "t"], ["an expression such as"]),
        (["certify", "linear", "--require", "alpha0"], ["alpha_positive", "did you mean 'alpha_0'"]),
        (["demo", "--samples", "7"], ["multiple of ten"]),
    ],
)
def test_bad_input_is_named(arguments, words, capsys):
    """Bad input exits with 2 and one line that says what was expected, received, and what to do."""
    assert main(arguments) == 2
    error = capsys.readouterr().err
    for word in ["expected", "received", "remedy", *words]:
        assert word in error
    assert len(error.strip().splitlines()) == 1


def test_unknown_subcommand_lists_the_choices(capsys):
    """An unknown subcommand exits with 2 and lists the known ones."""
    with pytest.raises(SystemExit) as stop:
        main(["certifi"])
    assert stop.value.code == 2
    assert "certify" in capsys.readouterr().err
