"""Sampling through SiT's interface: functions of noise and model, made from names and numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor

from interpolants.adapters.transport.kinds import diffusion_coefficient, named
from interpolants.adapters.transport.methods import ode_method
from interpolants.adapters.transport.path_sampler import single
from interpolants.adapters.transport.training import Field, Transport
from interpolants.combination import expect_shape
from interpolants.dynamics import Model, denoising, probability_flow, reverse_sde
from solvers import (
    DDIM,
    ODE,
    Adaptive,
    Euler,
    EulerMaruyama,
    ExponentialEulerMaruyama,
    PoleError,
    SiTHeun,
    solve,
    uniform,
)
from solvers.errors import explain
from solvers.grid import check_count
from solvers.likelihood import hutchinson, log_likelihood

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interpolants.diffusion import DiffusionCoefficient
    from solvers.grid import Grid
    from solvers.noise import Increment

__all__ = ["Sampler"]

Leg = tuple[Any, Any, Any]
"""A problem, times and a method."""


class Sampler:
    """Makes sampling functions for a transport. ``num_steps`` counts times, hence one more than there are steps.

    The state is in single precision or better whatever the dtype of the noise, in which the model gets it and results
    come back.

    Args:
        transport: made by :func:`create_transport`.

    Attributes:
        drift: ``transport.get_drift()``.
        score: ``transport.get_score()``.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.drift = transport.get_drift()
        self.score = transport.get_score()

    def sample_ode(
        self,
        *,
        sampling_method: str = "dopri5",
        num_steps: int = 50,
        atol: float = 1e-6,
        rtol: float = 1e-3,
        reverse: bool = False,
    ) -> Field:
        """Return ``sample(x, model, **model_kwargs)`` → the states at ``num_steps`` equidistant times, stacked.

        Args:
            sampling_method: ``"euler"``, ``"midpoint"``, ``"heun2"``, ``"heun3"`` or ``"rk4"`` (the 3/8 rule), with a
                step from each time to the next; ``"bosh3"``, ``"dopri5"`` or ``"dopri8"``, with steps of their own.
            num_steps: number of times, at least 2.
            atol: absolute tolerance of the latter.
            rtol: relative tolerance.
            reverse: from data to noise.

        Raises:
            ValueError: an unknown name, fewer than two times.
        """
        t0, t1 = self._interval(reverse=reverse)
        ts, method = _grid(num_steps, t0, t1), ode_method(sampling_method, rtol, atol)

        def sample(x: Tensor, model: Field, **model_kwargs: Any) -> Tensor:
            problem = self._flow(self._model(model, model_kwargs, x.dtype))
            with _advised():
                solution = solve(problem, _state(x), ts, method, save=True)
            if solution.status != "success":
                received, remedy = f"the status {solution.status!r}", "loosen rtol and atol"
                raise ValueError(explain("a solve that reaches its last time", received, remedy))
            xs: Any = solution.xs
            return xs.to(x.dtype)  # type: ignore[no-any-return]

        return sample

    def sample_sde(
        self,
        *,
        sampling_method: str = "Euler",
        diffusion_form: str = "SBDM",
        diffusion_norm: float = 1.0,
        last_step: str | None = "Mean",
        last_step_size: float = 0.04,
        num_steps: int = 250,
        generator: Generator | None = None,
    ) -> Callable[..., list[Tensor]]:
        r"""Return ``sample(x, model, **model_kwargs)`` → a list of ``num_steps`` states, the result last.

        ``num_steps`` − 1 steps, then the last one of its own length; without one the last state is there twice. Where
        the drift is infinite at the noise, which is a velocity model with ``"SBDM"`` under Linear and GVP, the first
        step is one of :class:`solvers.ExponentialEulerMaruyama`, exact but for the data prediction that it holds.

        Args:
            sampling_method: ``"Euler"`` (Euler–Maruyama) or ``"Heun"`` (:class:`solvers.SiTHeun`, of weak order 1).
            diffusion_form: ``"constant"``, ``"SBDM"``, ``"sigma"``, ``"linear"``, ``"decreasing"`` or
                ``"increasing-decreasing"`` (also with the published spelling).
            diffusion_norm: what multiplies it; in ``"decreasing"`` it multiplies the cosine.
            last_step: ``"Mean"`` and ``"Euler"`` follow the drift of the SDE and of the ODE; ``"Tweedie"`` takes the
                data prediction; None for none.
            last_step_size: its length, in (0, 1).
            num_steps: number of states, at least 2.
            generator: torch's own of the host if absent.

        Raises:
            ValueError: an unknown name, a number out of range. When sampling: :class:`solvers.PoleError` where the
                drift is infinite at a time that is visited.
        """
        w = diffusion_coefficient(diffusion_form, diffusion_norm)
        method = named("sampling_method", sampling_method, {"Euler": EulerMaruyama(), "Heun": SiTHeun()})
        if last_step is not None:
            named("last_step (or None)", last_step, dict.fromkeys(("Mean", "Tweedie", "Euler")))
            if not 0.0 < last_step_size < 1.0:
                wanted = "last_step_size: a length in (0, 1)"
                raise ValueError(explain(wanted, repr(last_step_size), "pass 0.04, or last_step=None for none"))
        length = 0.0 if last_step is None else last_step_size
        t0, t1 = self._interval(diffusion_form=diffusion_form, sde=True, last_step_size=length)
        ts, noise = _grid(num_steps, t0, t1), _HostNoise(generator)

        def sample(x: Tensor, model: Field, **model_kwargs: Any) -> list[Tensor]:
            own = self._model(model, model_kwargs, x.dtype)
            states = [_state(x)]
            with torch.no_grad(), _advised():
                for problem, times, taking in self._legs(own, w, ts, method, last_step):
                    found: Any = solve(problem, states[-1], times, taking, rng=noise, save=True).xs
                    states += found[1:]
            if last_step is None:
                states.append(states[-1])
            return [each.to(x.dtype) for each in states[1:]]

        return sample

    def sample_ode_likelihood(
        self,
        *,
        sampling_method: str = "dopri5",
        num_steps: int = 50,
        atol: float = 1e-6,
        rtol: float = 1e-3,
        generator: Generator | None = None,
    ) -> Callable[..., tuple[Tensor, Tensor]]:
        r"""Return ``likelihood(x, model, **model_kwargs)`` → the log-densities of data, (B,), and their noise.

        The divergence is Hutchinson's estimate with one Rademacher probe for each point, the same at all times. For
        exact divergences or several probes use :func:`solvers.likelihood.log_likelihood`.

        Args:
            sampling_method: as for :meth:`sample_ode`.
            num_steps: number of times of a method with fixed steps, at least 2.
            atol: absolute tolerance.
            rtol: relative tolerance.
            generator: torch's own if absent.

        Raises:
            ValueError: as for :meth:`sample_ode`.
        """
        t0, t1 = self._interval(reverse=True)
        ts, method = _grid(num_steps, t0, t1), ode_method(sampling_method, rtol, atol)
        if isinstance(method, Adaptive):
            ts = ts[[0, -1]]

        def likelihood(x: Tensor, model: Field, **model_kwargs: Any) -> tuple[Tensor, Tensor]:
            problem, state = self._flow(self._model(model, model_kwargs, x.dtype)), _state(x)
            place = x.device if generator is None else generator.device
            signs = 2 * torch.randint(2, (1, *x.shape), generator=generator, device=place) - 1
            trace = hutchinson(problem.drift, signs.to(state))
            with _advised():
                found = log_likelihood(problem, state, ts, method, self.transport.prior_logp, trace)
            return found.value, found.x.to(x.dtype)

        return likelihood

    def _interval(self, **options: Any) -> tuple[float, float]:
        return self.transport.check_interval(self.transport.train_eps, self.transport.sample_eps, eval=True, **options)

    def _flow(self, model: Model) -> ODE:
        return probability_flow(self.transport.path_sampler.schedule, model, self.transport.model_type.prediction)

    def _legs(self, model: Model, w: DiffusionCoefficient, ts: Grid, method: Any, last: str | None) -> Iterator[Leg]:
        """Yield what is solved one after another: a first step where the SDE has none, the SDE, the last step."""
        schedule, prediction = self.transport.path_sampler.schedule, self.transport.model_type.prediction
        sde = reverse_sde(schedule, model, w, prediction)
        if any(pole.time == ts[0] for pole in sde.poles):
            yield denoising(schedule, model, prediction, w), ts[:2], ExponentialEulerMaruyama()
            ts = ts[1:]
        if len(ts) > 1:
            yield sde, ts, method
        end = [float(ts[-1]), 0.0]
        if last == "Mean":
            yield ODE(sde.drift, sde.poles, sde.domain), end, Euler()
        elif last == "Euler":
            yield self._flow(model), end, Euler()
        elif last == "Tweedie":
            yield denoising(schedule, model, prediction), end, DDIM()

    def _model(self, model: Field, model_kwargs: dict[str, Any], dtype: torch.dtype) -> Model:
        """Return the model as a function of this library's time and of a state that is not in half precision."""
        sign = self.transport.sign

        def own(time: float, x: Tensor) -> Tensor:
            t = torch.full((len(x),), 1.0 - time, dtype=x.dtype, device=x.device)
            output = model(x.to(dtype), t, **model_kwargs)
            expect_shape(output, x)
            return sign * output.to(x.dtype)

        return own


@dataclass(frozen=True)
class _HostNoise:
    """Increments drawn on the host in torch's default dtype, as SiT's code draws them, so that seeds agree."""

    generator: Generator | None

    def increments(self, x: Tensor) -> Increment:
        """Return what draws the noise of a step."""
        place = "cpu" if self.generator is None else self.generator.device

        def noise(t0: float, t1: float) -> Tensor:
            return torch.randn(x.shape, generator=self.generator, device=place).to(x) * math.sqrt(abs(t1 - t0))

        return noise


def _state(x: Tensor) -> Tensor:
    """Return noise in single precision or better."""
    return x.to(single(x.dtype))


def _grid(num_steps: int, t0: float, t1: float) -> Grid:
    """Return ``num_steps`` equidistant times of this library, 1 − t0 to 1 − t1."""
    count = check_count("num_steps: a number of times, at least 2", num_steps)
    if count < 2:
        raise ValueError(explain("num_steps: a number of times, at least 2", "1", "n steps have n + 1 times"))
    return uniform(count - 1, 1.0 - t0, 1.0 - t1)


@contextmanager
def _advised() -> Iterator[None]:
    """Add what this interface calls the remedy where a time is visited at which something is infinite."""
    try:
        yield
    except PoleError as error:
        remedy = "in this interface: create_transport(..., sample_eps=1e-3), and a last step for an SDE"
        raise PoleError(f"{error}; {remedy} (its time is 1 - t)") from None
