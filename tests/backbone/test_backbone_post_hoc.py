"""Averages of other widths, reconstructed from snapshots, against direct sums over all weights on the way."""

import json

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file
from stored_averages import EVERY, STEPS, STILL, direct, flat, train

from backbone import load_checkpoint, post_hoc
from backbone.cli import main
from backbone.ema import combine, find_snapshots, gamma_of, plan_post_hoc
from backbone.layouts import CheckpointError

EXTRA = {"prediction": "Velocity", "run": 7}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("snapshots")
    return folder, *train(folder, extra=EXTRA)


def bound(history, found):
    """‖r‖₂ ‖θ − mean‖₂ for each weight: ‖r‖₂ from the residual, with ‖p‖² = (γ + 1)²/((2γ + 1) t)."""
    gamma, step = found.target.gamma, found.target.step
    length = (gamma + 1) / ((2 * gamma + 1) * step) ** 0.5
    return found.residual * length * (history - history.mean(0)).pow(2).sum(0).sqrt()


@pytest.mark.parametrize(("width", "step"), [(0.06, STEPS), (0.075, STEPS), (0.09, 160), (0.12, STEPS), (0.2, STEPS)])
def test_a_width_between_is_the_average_of_that_width(run, width, step):
    """Each weight is within the proven bound of its direct sum, and within 1% of how much it varied."""
    folder, _, history = run
    _, found = plan_post_hoc(folder, width, step)
    error = (flat(post_hoc(folder, width, step)) - direct(history, gamma_of(width), step)).abs()
    assert bool((error <= bound(history, found) + 2e-6).all())
    moving = history.std(0) > 0
    assert float((error[moving] / history.std(0)[moving]).max()) < 0.01
    neighbour = direct(history, gamma_of(width * 1.1), step) - direct(history, gamma_of(width), step)
    assert float(error.norm()) < 0.1 * float(neighbour.norm())


def test_what_never_moved_comes_back_exactly(run):
    """Constant weights and the position embedding are bit for bit those of the training, for any width."""
    folder, averages, _ = run
    for width in (0.04, 0.075, 0.2):
        found, wanted = post_hoc(folder, width).state_dict(), averages.model.state_dict()
        for name in (STILL, "pos_embed"):
            assert torch.equal(found[name], wanted[name])


def test_a_stored_average_comes_back_exactly(run):
    """Widths and steps that are stored give the stored file, bit for bit; the last is the average as it stands."""
    folder, averages, history = run
    for average in (averages.all[0], averages.all[2]):
        state = post_hoc(folder, average.sigma_rel).state_dict()
        assert all(torch.equal(part, state[name]) for name, part in average.model.state_dict().items())
        torch.testing.assert_close(flat(average.model), direct(history, average.gamma, STEPS), rtol=1e-5, atol=1e-5)
    state = load_checkpoint(folder / "snapshot-000000160-0.1.safetensors").model.state_dict()
    again = post_hoc(folder, 0.1, 160).state_dict()
    assert all(torch.equal(part, again[name]) for name, part in state.items())


def test_snapshots_are_checkpoints_with_their_profile(run):
    """A file for each power average, in order, loadable by itself, with width, exponent, step and the JSON given."""
    folder, averages, _ = run
    found = find_snapshots(folder)
    assert [s.profile.step for s in found] == sorted(2 * list(range(EVERY, STEPS + 1, EVERY)))
    assert {s.profile.gamma for s in found} == {averages.all[0].gamma, averages.all[2].gamma}
    loaded = load_checkpoint(found[-1].path)
    assert loaded.model.config == averages.model.config
    average = {"sigma_rel": 0.1, "gamma": averages.all[2].gamma, "step": STEPS, "dtype": "float32"}
    assert loaded.extra == EXTRA | {"average": average}


def test_half_and_single_precision_together(run, tmp_path):
    """Snapshots of both precisions in one folder give the direct sum, to the bound and the reported rounding."""
    _, _, history = run
    train(tmp_path, dtype=lambda n: torch.float16 if n % 20 else torch.float32)
    kinds = {part.dtype for s in find_snapshots(tmp_path)[:4] for part in load_file(s.path).values()}
    assert kinds == {torch.float16, torch.float32}
    _, found = plan_post_hoc(tmp_path, 0.075)
    assert found.rounding == pytest.approx(sum(map(abs, found.weights)) * 2**-11, rel=1e-12)
    model = post_hoc(tmp_path, 0.075)
    assert {part.dtype for part in model.state_dict().values()} == {torch.float32}
    error = (flat(model) - direct(history, gamma_of(0.075), STEPS)).abs()
    assert bool((error <= bound(history, found) + found.rounding * history.abs().max(0).values + 2e-6).all())


@pytest.mark.parametrize(
    ("width", "step", "words"),
    [
        (0.01, None, r"64 snapshots give to 0.05; .*sigma_rel=0.01 at step 320: residual of the profile 0\.\d+, "),
        (0.05, 325, r"at step 325: .*condition number \d.*; remedy: choose a width between those stored \(0.05, 0.1\)"),
        (0.05, 3, r"a step that is stored \(10 … 320\); next time store more often"),
    ],
)
def test_far_from_what_is_stored_is_refused(run, width, step, words):
    """A width or a step that the snapshots do not show is refused with residual, condition number and remedy."""
    with pytest.raises(ValueError, match=words):
        post_hoc(run[0], width, step)
    assert post_hoc(run[0], width, step, tolerance=10.0) is not None


def test_rounding_counts_in_the_refusal(tmp_path):
    """In half precision a narrow width is refused for its weights of both signs, and float32 is the advice."""
    train(tmp_path, dtype=torch.float16)
    _, found = plan_post_hoc(tmp_path, 0.03)
    with pytest.raises(ValueError, match=r"rounding 0\.00\d+ \(sum of \|w\| 1\d\.\d\).*more often"):
        post_hoc(tmp_path, 0.03, tolerance=found.residual)
    with pytest.raises(ValueError, match="float32 instead of float16"):
        post_hoc(tmp_path, 0.05, tolerance=2**-12)


def test_a_nan_tolerance_accepts_nothing(run):
    """A tolerance that is not a number refuses."""
    with pytest.raises(ValueError, match="expected a profile"):
        post_hoc(run[0], 0.075, tolerance=float("nan"))


def small(folder):
    """Copy of three snapshots that may be damaged."""
    folder.mkdir()
    train(folder, steps=2 * EVERY)
    find_snapshots(folder)[3].path.unlink()
    return find_snapshots(folder)


def rewrite(path, change):
    """Apply a change to the tensors and the metadata of a file."""
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    change(tensors, metadata)
    save_file(tensors, path, metadata)


def test_damaged_and_foreign_files_are_named(tmp_path):
    """Cut files, files without a profile, of another network, with NaN or without a tensor: each is named."""
    stored = small(tmp_path / "run")
    first, second, third = (snapshot.path for snapshot in stored)
    whole = second.read_bytes()
    faults = {
        "expected a whole file of .* bytes": lambda: second.write_bytes(whole[:-5]),
        "'average' is missing or wrong": lambda: rewrite(second, lambda t, m: m.update(extra="{}")),
        "'float8' is missing or wrong": lambda: rewrite(
            second, lambda t, m: m.update(extra=json.dumps({"average": {"gamma": 1, "step": 3, "dtype": "float8"}}))
        ),
        "snapshots of one run; .*configs differ": lambda: rewrite(
            second, lambda t, m: m.update(sit_config=json.dumps(json.loads(m["sit_config"]) | {"num_heads": 2}))
        ),
        "NaN in pos_embed; remedy: delete": lambda: rewrite(second, lambda t, m: t["pos_embed"].fill_(float("nan"))),
        "missing pos_embed": lambda: rewrite(second, lambda t, m: t.pop("pos_embed")),
    }
    for words, damage in faults.items():
        damage()
        with pytest.raises(CheckpointError, match=words) as error:
            post_hoc(first.parent, 0.075, tolerance=10.0)
        assert second.name in str(error.value)
        second.write_bytes(whole)
    assert post_hoc(first.parent, 0.075, tolerance=10.0) is not None
    assert third.is_file()


def test_files_of_weight_zero_are_not_read(tmp_path):
    """A combination reads the files that it uses and no others."""
    stored = small(tmp_path / "run")
    wanted = load_file(stored[1].path)
    for k in (0, 2):
        stored[k].path.unlink()
    found = combine(stored, [0.0, 2.0, 0.0]).state_dict()
    assert all(torch.equal(found[name], 2 * part) for name, part in wanted.items())


def test_a_folder_without_snapshots(tmp_path):
    """An empty folder, or one of other files, is FileNotFoundError with the folder."""
    (tmp_path / "model.safetensors").write_bytes(b"other")
    with pytest.raises(FileNotFoundError, match=f"expected a folder of snapshots; received {tmp_path} without"):
        post_hoc(tmp_path, 0.05)


def test_the_command_writes_a_checkpoint(run, tmp_path, capsys):
    """`sit ema` writes what post_hoc returns, keeps the JSON of the run, says how it fits, and does not overwrite."""
    folder, out = run[0], tmp_path / "new.safetensors"
    command = ["ema", str(folder), "--sigma-rel", "0.08", "--step", "300", "--out", str(out)]
    assert main(command) == 0
    said = capsys.readouterr().out
    for words in (
        "64 snapshots of width 0.05, 0.1",
        f"sigma_rel 0.08, gamma {gamma_of(0.08):.5g}",
        "step 300",
        "residual of the profile",
    ):
        assert words in said
    loaded, wanted = load_checkpoint(out), post_hoc(folder, 0.08, 300).state_dict()
    assert all(torch.equal(part, wanted[name]) for name, part in loaded.model.state_dict().items())
    assert {name: loaded.extra[name] for name in EXTRA} == EXTRA
    assert loaded.extra["average"]["sigma_rel"] == 0.08
    assert loaded.extra["average"]["residual"] == plan_post_hoc(folder, 0.08, 300)[1].residual
    before = out.read_bytes()
    assert main([*command[:3], "0.06", *command[4:]]) == 2
    assert "which does; remedy: pass --force" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert main([*command[:3], "0.06", *command[4:], "--force"]) == 0
    assert load_checkpoint(out).extra["average"]["sigma_rel"] == 0.06


def test_the_command_refuses_in_one_line(run, tmp_path, capsys):
    """A width too far away exits with 2, one line and no file; --tolerance lets it pass."""
    out = tmp_path / "new.safetensors"
    command = ["ema", str(run[0]), "--sigma-rel", "0.01", "--out", str(out)]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "remedy: choose a width between those stored" in error
    assert len(error.strip().splitlines()) == 1
    assert not out.exists()
    assert main([*command, "--tolerance", "10"]) == 0
    assert out.exists()
