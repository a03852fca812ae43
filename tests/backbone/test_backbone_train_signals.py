"""Signals, the command line and torchrun."""

import io
import json
import os
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from training_support import OBJECTIVE, after_step, plain, processes, same, toy_train, weights

from backbone import Record
from backbone.cli import main
from backbone.losses import Interpolation
from backbone.train.log import read_log

ROOT = Path(__file__).parents[2]


DIGITS = [
    *("--config", str(ROOT / "configs" / "digits.toml"), "--device", "cpu", "--quiet"),
    *("--model.depth", "1", "--model.hidden-size", "32", "--record.probe-every", "0", "--record.save-every", "0"),
    *("--training.decay", "constant", "--training.batch-size", "16", "--training.steps"),
]


def _command(arguments):
    """Run the command line; return its status and what it printed."""
    out = io.StringIO()
    with redirect_stdout(out):
        status = main(["train", *arguments])
    return status, out.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_exits_with_0(number, tmp_path):
    """SIGTERM and SIGUSR1 end `sit train` with status 0 and a checkpoint, from which it goes on bit for bit."""

    def during(pids):
        after_step(tmp_path / "run", 3)
        os.kill(pids[0], number)

    [(code, (status, said))] = processes(
        1, _command, [*DIGITS, "100000", "--out", str(tmp_path / "run")], during=during
    )
    assert (code, status) == (0, 0)
    made = len(read_log(tmp_path / "run" / "log.jsonl"))
    assert 3 <= made < 100000
    assert said.startswith(f"stopped by a signal: {made} of 100000 steps, loss ")
    assert (tmp_path / "run" / "checkpoints" / f"step-{made:08d}.json").exists()
    assert (tmp_path / "run" / "averaged.safetensors").exists()
    steps = str(made + 3)
    status, said = _command([*DIGITS, steps, "--out", str(tmp_path / "run")])
    assert (status, said.split(",")[0]) == (0, f"done: {steps} of {steps} steps")
    assert _command([*DIGITS, steps, "--out", str(tmp_path / "whole")])[0] == 0
    ours, theirs = (
        [(row["step"], row["loss"]) for row in read_log(tmp_path / name / "log.jsonl")] for name in ("run", "whole")
    )
    assert ours == theirs
    described = json.loads((tmp_path / "run" / "config.json").read_text())
    assert described["training"]["steps"] == made + 3
    assert described["model"]["hidden_size"] == 32


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_the_loop(number, tmp_path):
    """A signal in the fourth step saves after it; the run goes on bit for bit, and the old handlers are back."""
    before = [signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGUSR1)]

    def send(step, loss):
        if step == 3:
            os.kill(os.getpid(), number)

    result = toy_train(tmp_path, Record(), on_step=send)
    assert (result.stopped, result.steps, len(result.losses)) == (True, 4, 4)
    assert [signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGUSR1)] == before
    rest = toy_train(tmp_path, Record())
    assert (rest.stopped, rest.steps) == (False, 6)
    assert result.losses + rest.losses == plain().losses
    assert same(weights(rest), weights(plain()))


def test_a_signal_between_two_readings_loses_nothing(tmp_path):
    """With log_every=100 the steps up to the signal are read, and told, before the checkpoint is saved."""
    inner = Interpolation(OBJECTIVE)

    def loss(model, x_data, y, draws):
        if int(draws.ids[0]) == 3 * 12:
            os.kill(os.getpid(), signal.SIGTERM)
        return inner(model, x_data, y, draws)

    told = []
    result = toy_train(tmp_path, loss=loss, log_every=100, on_step=lambda step, value: told.append(value))
    assert (result.stopped, result.steps) == (True, 4)
    assert result.losses == told == plain().losses[:4]
    assert [row["step"] for row in read_log(tmp_path / "log.jsonl")] == [1, 2, 3, 4]


def test_control_c_is_no_traceback(tmp_path, monkeypatch, capsys):
    """Ctrl-C ends the command with 130 and one word; the folder is free for the next."""
    monkeypatch.setattr(sys.modules["backbone.train.loop"], "_gradients", _press)
    arguments = [*DIGITS, "3", "--out", str(tmp_path)]
    assert main(["train", *arguments]) == 130
    assert capsys.readouterr().err == "sit: interrupted\n"
    monkeypatch.undo()
    assert _command(arguments)[0] == 0


def _press(*args):
    raise KeyboardInterrupt


@pytest.mark.slow
def test_a_signal_stops_all_processes(tmp_path):
    """SIGTERM to one of two processes stops both after the same step, with status 0; one of them speaks."""

    def during(pids):
        after_step(tmp_path, 3)
        os.kill(pids[1], signal.SIGTERM)

    found = processes(2, _command, [*DIGITS, "100000", "--out", str(tmp_path)], during=during)
    assert [code for code, _ in found] == [0, 0]
    (one, said), (two, silent) = (result for _, result in found)
    assert (one, two) == (0, 0)
    assert said.startswith("stopped by a signal: ")
    assert silent == ""
    assert len(list((tmp_path / "checkpoints").glob("*.json"))) == 1


@pytest.mark.slow
def test_torchrun_trains(tmp_path):
    """`torchrun -m backbone.train` in two processes has the losses of `sit train`, and prints one line."""
    arguments = [*DIGITS, "3", "--out"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run = subprocess.run(
        [*command, "-m", "backbone.train", *arguments, str(tmp_path / "two")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("done: 3 of 3 steps") == 1
    assert _command([*arguments, str(tmp_path / "one")])[0] == 0
    ours, theirs = ([row["loss"] for row in read_log(tmp_path / name / "log.jsonl")] for name in ("one", "two"))
    assert ours == pytest.approx(theirs, rel=1e-4)
