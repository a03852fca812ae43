"""The command line: what it prints, writes and returns, and how it says no."""

import csv
import json
import math

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


@pytest.mark.slow
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


@pytest.mark.covering(2)
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


@pytest.mark.covering(3)
@pytest.mark.parametrize(
    ("figure", "suffix"),
    [
        ("schedules", "png"),
        ("transport-cost", "svg"),
        ("path-length", "pdf"),
        pytest.param("bounds", "png", marks=pytest.mark.slow),
        ("trajectories", "svg"),
    ],
)
def test_plot_writes_the_figure_and_its_numbers(figure, suffix, tmp_path, capsys):
    """`sit plot` writes the file it is given in the format of its suffix, a CSV beside it, and prints both names."""
    file = tmp_path / "new" / f"figure.{suffix}"
    assert main(["plot", figure, "linear", "--out", str(file)]) == 0
    assert file.read_bytes().startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix])
    assert file.stat().st_size > 5000
    assert capsys.readouterr().out.split() == [str(file), str(file.with_suffix(".csv"))]
    lines = file.with_suffix(".csv").read_text().splitlines()
    assert lines[0] == "panel,curve,x,y"
    assert len(lines) > 10
    assert all(math.isfinite(float(number)) for line in lines[1:] for number in line.split(",")[-2:])


def test_plot_of_a_schedule_of_your_own(tmp_path, capsys):
    """--alpha and --sigma draw a schedule that is spelt, --csv names the file of the numbers, and they are right."""
    table = tmp_path / "numbers.csv"
    command = ["plot", "transport-cost", "gvp", "--alpha", "1 - t**2", "--sigma", "t**2"]
    assert main([*command, "--out", str(tmp_path / "f.png"), "--csv", str(table)]) == 0
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["curve"] for row in rows} == {"GVP", "custom", "$W_2^2 = (1-s)^2$, lower bound"}
    for row in rows:
        s, y = float(row["x"]), float(row["y"])
        if row["curve"] == "GVP":
            assert abs(y - math.pi**2 / 8 * (1 - s) ** 2) < 1e-9 * (1 + s**2)
    # ρ² = (1 − t²)²s² + t⁴ has the range of Linear's in the clock t², so its variation is Linear's.
    table.unlink()
    command[1] = "path-length"
    assert main([*command, "--out", str(tmp_path / "f.png"), "--csv", str(table)]) == 0
    with table.open() as file:
        rows = [row for row in csv.DictReader(file) if row["curve"] == "custom"]
    for row in rows:
        s = float(row["x"])
        exact = math.sqrt(2 / math.pi) * (1 + s - 2 * s / math.sqrt(1 + s * s))
        assert abs(float(row["y"]) / exact - 1) < 1e-9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["certify", "lineer"], ["linear, gvp, vp", "did you mean 'linear'"]),
        (["certify", "--alpha", "1 - t"], ["both --alpha and --sigma", "--alpha alone"]),
        (["certify", "--alpha", "__import__('os')", "--sigma", "t"], ["an expression such as"]),
        (["certify", "--alpha", "a - t", "--sigma", "t"], ["an expression such as"]),
        (["certify", "linear", "--require", "alpha0"], ["alpha_positive", "did you mean 'alpha_0'"]),
        (["demo", "--samples", "7"], ["multiple of ten"]),
        (["plot", "schedules", "linear", "--out", "figure.jpg"], [".png, .svg, .pdf", "'.jpg'", "write figure.png"]),
        (["plot", "schedules", "linear", "--out", "figure"], [".png, .svg, .pdf", "'figure'", "write figure.png"]),
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
