"""Schedulers of diffusers, driven as a pipeline drives them.

An interior interval is one of the scheduler's own: a discrete model whose table of noise levels *is* the interval, by
``trained_betas``; or, where the schedule is not a table, the part of its steps that ``set_begin_index`` starts at.
Sampling goes on a little beyond the level at which the state is read, so that what a scheduler does in its last steps
is not in the order. States and tables are raised to float64, for most schedulers cast them to float32.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from solvers.order.adapters.diffusers_kinds import KINDS
from solvers.order.adapters.options import expect_name, load, parameters, typed
from solvers.order.adapters.torch_calls import on_tensors, through_torch
from solvers.order.draws import Draws
from solvers.order.levels import FIRST, LAST, Level, grid
from solvers.order.sampler import Drive
from solvers.order.trials import Model

_TABLE = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")
_GIVEN = ("model_output", "timestep", "sample", "generator", "return_dict", "variance_noise", "pred_original_sample")
# Clipping the data prediction is a change of the model; an option can switch it on again.
_OFF = {"clip_sample": False}


@dataclass(frozen=True)
class _Ready:
    """A scheduler before its first step, and how to go on with it; ``whole`` on its own schedule."""

    scheduler: Any
    calls: range
    start: Level
    stop: Level
    whole: bool


class Diffusers:
    """A scheduler of diffusers.

    Args:
        name: the class, such as "DPMSolverMultistepScheduler".
        options: "solver_order=3" and the like, for its constructor or its ``step``.

    Raises:
        ImportError: diffusers is not installed.
        TypeError, ValueError: an unknown name or option.
    """

    def __init__(self, name: str, options: Sequence[str] = ()) -> None:
        expect_name(name, self.names(), "diffusers")
        self._class = getattr(load("diffusers", "diffusers"), name)
        made, stepped = parameters(self._class.__init__), parameters(self._class.step, *_GIVEN)
        tau = parameters(lambda tau=1.0: None) if name == "SASolverScheduler" else {}
        given = typed(options, made | stepped | tau, name)
        self.options = {key: value for key, value in _OFF.items() if key in made} | {
            key: value for key, value in given.items() if key in made
        }
        if tau:
            share = float(given.get("tau", 1.0))
            self.options["tau_func"] = lambda timestep: share
        self.step_options = {key: value for key, value in given.items() if key in stepped and key not in made}
        defaults = {key: item.default for key, item in (made | stepped).items()}
        self.kind, self.name = KINDS[name], f"diffusers:{name}"
        self.claimed = self.kind.claim(defaults | given)
        self.flow = self.kind.family == "flow" or bool(self.options.get("use_flow_sigmas"))
        self.coarsest = 24 if self.flow or self.kind.family == "angle" or self.kind.group > 1 else 16

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the schedulers that are driven."""
        return tuple(KINDS)

    @property
    def takes_steps(self) -> bool:
        """Whether the model's table can be the interval."""
        return not self.flow and self.kind.family in ("sigmas", "alphas")

    def interior(self, n: int, *, equal: bool = False) -> Drive:
        """Return n steps inside."""
        if self.flow or self.kind.family == "angle":
            return self._drive(lambda: self._part(n))
        if self.kind.family == "edm":
            return self._drive(lambda: self._range(n))
        return self._drive(lambda: self._table(n, equal))

    def whole(self, n: int) -> Drive:
        """Return n steps of its own schedule."""
        return self._drive(lambda: self._ready(self._made({}), n, range(0)))

    def _drive(self, make: Callable[[], _Ready]) -> Drive:
        def sample(raised: bool) -> Any:
            def run(model: Model, x: Any, draws: Draws) -> Any:
                with _quiet():
                    return self._loop(make(), on_tensors(model), x, draws, raised)

            return through_torch(run, raised=raised)

        with _quiet():
            ready = make()
        return Drive(ready.start, ready.stop, sample(True), sample(False))

    def _loop(self, ready: _Ready, predict: Any, x: Any, draws: Draws, raised: bool) -> Any:
        """Call the model and the scheduler in turn."""
        scheduler = ready.scheduler
        output = self._output(ready, predict)
        if hasattr(scheduler, "noise_sampler"):
            scheduler.noise_sampler = _noise_sampler(draws, x)
        if raised:
            _raise_tables(scheduler)
        for k in ready.calls:
            timestep = scheduler.timesteps[k]
            seen = scheduler.scale_model_input(x, timestep) if hasattr(scheduler, "scale_model_input") else x
            said = output(k, seen).to(x.dtype)
            x = scheduler.step(said, timestep, x, return_dict=False, **self.step_options)[0]
        return x

    def _made(self, changes: dict[str, Any]) -> Any:
        return self._class(**(self.options | changes))

    def _table(self, n: int, equal: bool) -> _Ready:
        """Return a discrete model whose table is the interval."""
        kind = self.kind
        beyond = kind.group * max(2, -(-n // (8 * kind.group)))
        ratios = grid(n * kind.stride, beyond=beyond * kind.stride, equal=equal)
        ratios = ratios[: (n + beyond) * kind.stride + kind.spare]
        kept = 1.0 / (1.0 + np.exp(-2.0 * np.array(ratios[::-1])))
        betas = 1.0 - kept / np.concatenate([[1.0], kept[:-1]])
        plain = {key: value for key, value in self.options.items() if key not in _TABLE}
        scheduler = self._class(**plain, trained_betas=betas.tolist(), num_train_timesteps=len(betas))
        return self._ready(scheduler, n + beyond, range(self._calls(scheduler, n)))

    def _calls(self, scheduler: Any, n: int) -> int:
        """Return how many calls of ``step`` take n steps."""
        if self.kind.stride == 1:
            return n * self.kind.calls
        return n + 1 if scheduler.config.skip_prk_steps else n + 9  # three Runge–Kutta steps of four calls

    def _range(self, n: int) -> _Ready:
        """Return a schedule between σ = 4 and a little below ¼."""
        beyond = max(2, n // 8)
        last = FIRST + (LAST - FIRST) * (n + beyond) / n
        ends = {"sigma_max": math.exp(-FIRST), "sigma_min": math.exp(-last)}
        return self._ready(self._made(ends), n + beyond, range(n))

    def _part(self, n: int) -> _Ready:
        """Return the middle three fifths of its own steps."""
        fifth = n // 3
        scheduler = self._made({})
        first = fifth * self.kind.calls
        ready = self._ready(scheduler, 5 * fifth, range(first, first + n * self.kind.calls))
        scheduler.set_begin_index(first)
        return ready

    def _ready(self, scheduler: Any, steps: int, calls: range) -> _Ready:
        """Return the scheduler with its timesteps set; without calls, for all of them."""
        scheduler.set_timesteps(steps)
        every = range(len(scheduler.timesteps))
        chosen = calls or every
        start, stop = (self._state(scheduler, k) for k in (chosen.start, chosen.stop))
        return _Ready(scheduler, chosen, start, stop, whole=not calls)

    def _state(self, scheduler: Any, k: int) -> Level:
        """Return the level of the state before call k, which is that after call k − 1."""
        if self.kind.family == "angle":
            return Level(float(scheduler.alphas[k]), float(scheduler.betas[k]))
        if self.kind.family != "alphas":
            sigma = float(scheduler.sigmas[k])
            if self.flow:
                return Level(1.0 - sigma, sigma)
            return Level(1.0, sigma) if self.kind.scaled or self.kind.family == "edm" else _preserving(sigma)
        if k < len(scheduler.timesteps):
            return _preserving(_ratio(scheduler, float(scheduler.timesteps[k]), double=True))
        kept = float(getattr(scheduler, "final_alpha_cumprod", 1.0))
        return Level(math.sqrt(kept), math.sqrt(1.0 - kept))

    def _output(self, ready: _Ready, predict: Any) -> Callable[[int, Any], Any]:
        """Return what the network returns in call k for what it sees."""
        scheduler = ready.scheduler
        if self.kind.family == "edm":
            return lambda k, seen: _preconditioned(scheduler, predict, seen)
        if self.kind.family == "angle":
            kind = "v_prediction"
        else:
            kind = "flow_prediction" if self.flow else scheduler.config.prediction_type
        of = _PREDICTIONS[kind]

        def output(k: int, seen: Any) -> Any:
            level = self._seen_level(ready, k)
            return of(level, *predict(*level, seen))

        return output

    def _seen_level(self, ready: _Ready, k: int) -> Level:
        """Return the level that the timestep of call k means to the network."""
        scheduler = ready.scheduler
        timestep = float(scheduler.timesteps[k])
        if self.kind.family == "angle":
            return Level(math.cos(timestep * math.pi / 2.0), math.sin(timestep * math.pi / 2.0))
        if self.flow and not ready.whole:
            # Some schedulers cut these timesteps to integers: an error of the network's input, not of the order.
            return self._state(scheduler, k)
        if self.flow:
            sigma = timestep / scheduler.config.num_train_timesteps
            return Level(1.0 - sigma, sigma)
        return _preserving(_ratio(scheduler, timestep, double=self.kind.family == "alphas"))


_PREDICTIONS: dict[str, Callable[[Level, Any, Any], Any]] = {
    "epsilon": lambda level, data, noise: noise,
    "sample": lambda level, data, noise: data,
    "v_prediction": lambda level, data, noise: level.alpha * noise - level.sigma * data,
    "flow_prediction": lambda level, data, noise: noise - data,
}


def _preserving(ratio: float) -> Level:
    scale = math.hypot(1.0, ratio)
    return Level(1.0 / scale, ratio / scale)


def _ratio(scheduler: Any, timestep: float, *, double: bool) -> float:
    """Return σ/α at a timestep of a discrete model, log-linear between two of them."""
    kept = scheduler.alphas_cumprod.double() if double else scheduler.alphas_cumprod.float()
    ratios = (((1.0 - kept) / kept) ** 0.5).double().numpy()
    return float(np.exp(np.interp(timestep, np.arange(len(ratios)), np.log(ratios))))


def _preconditioned(scheduler: Any, predict: Any, seen: Any) -> Any:
    """Return the output of a network that the scheduler's own preconditioning turns into the data prediction."""
    sigma, spread = float(scheduler.sigmas[scheduler.step_index]), scheduler.config.sigma_data
    size = math.hypot(sigma, spread)
    data, _ = predict(1.0, sigma, seen * size)
    sign = -1.0 if scheduler.config.prediction_type == "v_prediction" else 1.0
    return (data - (spread / size) ** 2 * (seen * size)) * (sign * size / (sigma * spread))


def _noise_sampler(draws: Draws, x: Any) -> Any:
    import torch

    def drawn(sigma: Any, sigma_next: Any) -> Any:
        return torch.from_numpy(draws.between(float(sigma), float(sigma_next), tuple(x.shape))).to(x.dtype)

    return drawn


def _raise_tables(scheduler: Any) -> None:
    """Turn the tables of a scheduler from float32 into float64, with the same values."""
    import torch

    for name, value in vars(scheduler).items():
        if isinstance(value, torch.Tensor) and value.dtype == torch.float32 and name != "timesteps":
            setattr(scheduler, name, value.double())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what diffusers says of deprecated options out of the caller's output."""
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.set_verbosity(before)
