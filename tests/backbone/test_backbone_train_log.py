"""What a training says of itself: log.jsonl, rates, TensorBoard, Weights & Biases, a full disk."""

import dataclasses
import math
import resource
import sys
import types

import pytest
from training_support import TOY, plain, processes, same, toy_train, weights

from backbone import Record
from backbone.flops import forward_flops
from backbone.sizes import named_config
from backbone.train import log as log_module
from backbone.train.log import Log, Rate, read_log

# Multiply-adds of a forward pass in 10⁹: Peebles & Xie (2023), arXiv:2212.09748, table 4, there called Gflops.
PUBLISHED = {
    "SiT-S/8": 0.36,
    "SiT-S/4": 1.41,
    "SiT-S/2": 6.06,
    "SiT-B/8": 1.42,
    "SiT-B/4": 5.56,
    "SiT-B/2": 23.01,
    "SiT-L/8": 5.01,
    "SiT-L/4": 19.70,
    "SiT-L/2": 80.71,
    "SiT-XL/8": 7.39,
    "SiT-XL/4": 29.05,
    "SiT-XL/2": 118.64,
}


@pytest.mark.covering(6)
@pytest.mark.parametrize("name", PUBLISHED)
def test_arithmetic_is_that_of_the_published_sizes(name):
    """A forward pass takes two operations for each of the multiply-adds published for this size, to 0.5% and 0.01."""
    assert forward_flops(named_config(name)) / 2e9 == pytest.approx(PUBLISHED[name], rel=5e-3, abs=0.01)


def test_arithmetic_of_a_toy():
    """Matrices and attention of the toy counted by hand; attention and kept activations do not matter."""
    D, T = 16, 4
    macs = T * 4 * D  # four pixels a patch
    macs += 256 * D + D * D + 6 * D * D  # time, and the modulation of the block
    macs += T * (3 * D * D + D * D + 8 * D * D) + 2 * T * T * D
    macs += 2 * D * D + T * D * 4
    assert forward_flops(TOY) == 2 * macs
    assert forward_flops(dataclasses.replace(TOY, attention="math", checkpoint_every=1)) == 2 * macs


def test_rates(monkeypatch):
    """Images per second, their share of the largest rate, and the seconds left, from a clock that is turned by hand."""
    now = iter([10.0, 14.0, 15.0])
    monkeypatch.setattr(log_module.time, "perf_counter", lambda: next(now))
    rate = Rate(200.0)
    assert rate.over(400, 1000) == {"images_per_second": 100.0, "mfu": 0.5, "eta_s": 10.0}
    assert rate.over(50, 0) == {"images_per_second": 50.0, "mfu": 0.25, "eta_s": 0.0}


def test_the_share_of_the_device(tmp_path):
    """mfu · peak = images per second · three forward passes, to the digits of the log; absent without a peak."""
    toy_train(tmp_path / "a", Record(peak_flops=1e9), log_every=2)
    rows = read_log(tmp_path / "a" / "log.jsonl")
    assert [("mfu" in row, "eta_s" in row) for row in rows] == [(False, False), (True, True)] * 3
    for row in rows[1::2]:
        assert row["mfu"] * 1e9 == pytest.approx(row["images_per_second"] * 3 * forward_flops(TOY), abs=6e4, rel=1e-3)
    toy_train(tmp_path / "b", steps=1)
    assert "mfu" not in read_log(tmp_path / "b" / "log.jsonl")[0]


def test_a_row_is_strict_json(tmp_path):
    """NaN and infinity become null; text and whole numbers stay."""
    log = Log(tmp_path, 0)
    log.write(3, {"a": math.nan, "b": -math.inf, "c": 2, "d": "text", "e": True, "f": 0.5})
    log.close()
    assert (tmp_path / "log.jsonl").read_text() == (
        '{"step": 3, "a": null, "b": null, "c": 2, "d": "text", "e": true, "f": 0.5}\n'
    )


def test_rows_after_the_checkpoint_are_dropped(tmp_path):
    """A log goes on after the step it resumes from; later rows, a torn line and what is no row are left out."""
    file = tmp_path / "log.jsonl"
    file.write_text(
        '{"step": 1, "loss": 1.0}\n{"step": 2}\n[1]\n{"loss": 3}\n{"step": "2"}\n{"step": 3}\n{"step": 2, "lo'
    )
    log = Log(tmp_path, 2)
    log.write(3, {"loss": 0.5})
    log.close()
    assert file.read_text() == '{"step": 1, "loss": 1.0}\n{"step": 2}\n{"step": 3, "loss": 0.5}\n'


def _press(step, loss):
    """Ctrl-C in the fifth step."""
    if step == 4:
        raise KeyboardInterrupt


def test_an_interrupted_run_has_one_row_for_each_step(tmp_path):
    """Rows of steps that were made but not saved are replaced when the run goes on."""
    record = Record(save_every=3)

    with pytest.raises(KeyboardInterrupt):
        toy_train(tmp_path, record, log_every=1, on_step=_press)
    assert [row["step"] for row in read_log(tmp_path / "log.jsonl")] == [1, 2, 3, 4]
    resumed = toy_train(tmp_path, record)
    assert [row["step"] for row in read_log(tmp_path / "log.jsonl")] == [1, 2, 3, 4, 5, 6]
    assert same(weights(resumed), weights(plain()))


def test_tensorboard_is_readable(tmp_path):
    """The events are the numbers of the log; a run that goes on replaces those of steps that were not saved."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    record = Record(save_every=3, tensorboard=True)
    with pytest.raises(KeyboardInterrupt):
        toy_train(tmp_path, record, on_step=_press)
    toy_train(tmp_path, record, steps=6)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    rows = read_log(tmp_path / "log.jsonl")
    for name in ("loss", "grad_norm", "lr", "images_per_second", "eta_s"):
        found = [(event.step, event.value) for event in events.Scalars(name)]
        assert [step for step, _ in found] == [1, 2, 3, 4, 5, 6]
        assert [value for _, value in found] == pytest.approx([row[name] for row in rows], rel=1e-6)


class _Wandb(types.ModuleType):
    """A service that remembers what it was told."""

    def __init__(self):
        super().__init__("wandb")
        self.calls = []

    def init(self, **options):
        self.calls.append(("init", options))
        return self

    def log(self, numbers, step):
        self.calls.append((step, numbers))

    def finish(self):
        self.calls.append(("finish", None))


def test_wandb_is_told(tmp_path, monkeypatch):
    """The numbers of each step go to the project, under a name that stays in the folder and goes with it."""
    service = _Wandb()
    monkeypatch.setitem(sys.modules, "wandb", service)
    toy_train(tmp_path / "a", Record(wandb="project"), steps=2)
    (tmp_path / "a").rename(tmp_path / "b")
    toy_train(tmp_path / "b", Record(wandb="project"), steps=3)
    toy_train(tmp_path / "c", Record(wandb="project"), steps=1)
    begun = [options for what, options in service.calls if what == "init"]
    assert [options["project"] for options in begun] == ["project"] * 3
    assert begun[0]["id"] == begun[1]["id"] != begun[2]["id"]
    assert {options["resume"] for options in begun} == {"allow"}
    assert [what for what, _ in service.calls if what != "init"] == [1, 2, "finish", 3, "finish", 1, "finish"]
    rows = read_log(tmp_path / "b" / "log.jsonl")
    assert [numbers["loss"] for step, numbers in service.calls if isinstance(step, int)][:3] == [
        r["loss"] for r in rows
    ]


@pytest.mark.parametrize(("name", "record"), [("wandb", Record(wandb="p")), ("tensorboard", Record(tensorboard=True))])
def test_what_is_not_installed_is_named(name, record, tmp_path, monkeypatch):
    """Without the package the training says what to install before its first step."""
    for module in (name, "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"expected {name}; received none; remedy: pip install {name}"):
        toy_train(tmp_path, record)


def _fills_the_disk(folder, limit):
    """Train with files that cannot grow beyond a limit, which is what a full disk looks like."""
    import warnings

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        log = Log(folder, 0)
        for step in range(1, 40):
            if step == 30:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            log.write(step, {"loss": 0.5})
        log.close()
    return [str(warning.message) for warning in seen]


@pytest.mark.slow
def test_a_full_disk_costs_rows_and_not_the_run(tmp_path):
    """Rows that do not fit are lost with a warning, the torn one is passed over, and later ones are whole."""
    [(code, said)] = processes(1, _fills_the_disk, tmp_path, 410)
    assert code == 0
    assert said
    assert all("a row of the log could not be written" in text for text in said)
    steps = [row["step"] for row in read_log(tmp_path / "log.jsonl")]
    whole = 410 // len('{"step": 1, "loss": 0.5}\n')
    assert steps[:9] == list(range(1, 10))
    assert steps[-10:] == list(range(30, 40))
    assert abs(len(steps) - 10 - whole) <= 1
