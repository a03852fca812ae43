r"""A scheduler for the pipelines of diffusers, over any schedule, prediction and method of this library.

A pipeline owns the loop: it calls the network at ``scheduler.timesteps`` and hands every answer to ``step``. So a solve
is followed from one evaluation to the next (:mod:`solvers.inverted`): there is a timestep for each evaluation, and what
``step`` returns is the point at which the network is called next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from interpolants.adapters.diffusers import configuration
from interpolants.adapters.diffusers.run import Run
from interpolants.adapters.diffusers.sampler import Sampler
from interpolants.adapters.diffusers.timesteps import Spacing, Timesteps, chosen
from interpolants.coefficient import pad
from interpolants.prediction import Data, conversion
from interpolants.schedule import Schedule
from interpolants.schedules.discrete import Discrete
from solvers.errors import explain
from solvers.grid import check_count
from solvers.inverted import invert
from solvers.noise import Increment

try:
    from diffusers.configuration_utils import ConfigMixin
    from diffusers.schedulers.scheduling_utils import SchedulerMixin
    from diffusers.utils import BaseOutput
    from diffusers.utils.torch_utils import randn_tensor
except ImportError as error:
    _remedy = 'pip install "interpolants[diffusers]"'
    raise ImportError(explain("diffusers, for whose pipelines this module is", str(error), _remedy)) from error

__all__ = ["InterpolantScheduler", "InterpolantSchedulerOutput"]

Generators = torch.Generator | list[torch.Generator] | None


@dataclass
class InterpolantSchedulerOutput(BaseOutput):  # type: ignore[misc]
    """What :meth:`InterpolantScheduler.step` returns.

    Attributes:
        prev_sample: the point at which the network is called next, or the end of the solve.
        pred_original_sample: the data prediction at the point where it was called; None where that is infinite.
    """

    prev_sample: Tensor
    pred_original_sample: Tensor | None = None


class InterpolantScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]
    r"""A scheduler of diffusers that takes the steps of a method of this library.

    >>> import torch
    >>> from interpolants import Linear, Velocity
    >>> from interpolants.adapters.diffusers import InterpolantScheduler
    >>> from solvers import Heun
    >>> scheduler = InterpolantScheduler(Linear(), Velocity, Heun())
    >>> scheduler.set_timesteps(2)
    >>> scheduler.timesteps.tolist()
    [1000.0, 500.0, 500.0, 0.0]
    >>> x = torch.ones(1, 3)
    >>> for timestep in scheduler.timesteps:
    ...     x = scheduler.step(x, timestep, x).prev_sample
    >>> x.tolist()
    [[0.390625, 0.390625, 0.390625]]

    The last line is :math:`(1 - \tfrac12 + \tfrac18)^2`: two steps of Heun for :math:`\dot x = x`, from t = 1 to 0.

    Args:
        schedule: the schedule of the network. Of a discrete one the timesteps are indices, :math:`Tt - 1`; of any other
            they are :math:`Tt`.
        prediction: what the network predicts.
        method: any method of :mod:`solvers` with steps of fixed length.
        w: the diffusion coefficient of the reverse SDE, for the methods that have one.
        num_train_timesteps: T; that of a discrete schedule, otherwise 1000 as in flow matching. SiT's networks are told
            t itself: 1.
        grid: the times for a number of steps: "trailing", "leading" or "linspace" for indices, or "uniform",
            "quadratic", "log-snr" or "karras"; "trailing" for a discrete schedule and "uniform" for any other.
        start, stop: the first and the last time; the ends of the schedule by default.
        shift: s of the times :math:`st/(1 + (s - 1)t)`, to which those of ``grid`` are moved, once.
        rounded: whether the network of a discrete model is told the nearest index. The steps go by the exact time.

    Raises:
        TypeError, ValueError: a part that is missing, unknown or does not fit the others.
    """

    _compatibles: ClassVar[list[str]] = []
    order: int

    def __init__(
        self,
        schedule: Any = None,
        prediction: Any = None,
        method: Any = None,
        w: Any = None,
        num_train_timesteps: int | None = None,
        grid: str | None = None,
        start: float | None = None,
        stop: float | None = None,
        shift: float = 1.0,
        rounded: bool = True,
    ) -> None:
        for name, part in (("schedule", schedule), ("prediction", prediction), ("method", method)):
            if part is None:
                remedy = (
                    "write InterpolantScheduler(Linear(), Velocity, DPMSolverPP(2)); another scheduler's config is none"
                )
                raise TypeError(explain("a schedule, a prediction and a method", f"no {name}", remedy))
        self.sampler = Sampler(
            configuration.read_schedule(schedule),
            configuration.read_prediction(prediction),
            configuration.read_method(method),
            None if w is None else configuration.read_w(w),
        )
        known = self.sampler.schedule
        total = _total(known, num_train_timesteps)
        grid = grid or ("trailing" if isinstance(known, Discrete) else "uniform")
        self.register_to_config(
            **configuration.write(self.sampler),
            num_train_timesteps=total,
            grid=grid,
            start=start,
            stop=stop,
            shift=shift,
            rounded=rounded,
        )
        self.clock, self.spacing = Timesteps(known, total, rounded), Spacing(grid, start, stop, shift)
        self.order = self.sampler.method.evaluations
        self.num_inference_steps: int | None = None
        self.timesteps = torch.empty(0)
        self._data = conversion(known, self.sampler.prediction, Data)
        self._run: Run | None = None

    def __len__(self) -> int:
        return int(self.config.num_train_timesteps)

    @property
    def init_noise_sigma(self) -> float:
        """The standard deviation of the noise that sampling starts from."""
        schedule, start = self.sampler.schedule, self._run.solve.times[0] if self._run else self.spacing.start
        return float(schedule.sigma(schedule.domain[1] if start is None else start))

    @property
    def step_index(self) -> int | None:
        """The number of evaluations made, counted from the first timestep; None before the first."""
        return None if self._run is None else self._run.index

    @property
    def begin_index(self) -> int | None:
        """The index that was set by :meth:`set_begin_index`."""
        return None if self._run is None else self._run.begin

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        *,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
        times: Any = None,
    ) -> None:
        r"""Choose the grid, check it, and write down the solve; ``timesteps`` has one entry for each evaluation.

        Args:
            num_inference_steps: the number of steps, on the grid of the configuration.
            device: where ``timesteps`` is to be. On an accelerator ``step`` does not look at its argument ``timestep``.
            timesteps: the timesteps at which the steps start, in place of a number. They are not shifted.
            sigmas: the same as times, :math:`\sigma_t = t`, for the linear schedule of flow matching.
            mu: the logarithm of a shift for this call, in place of the configured one; it is for ``sigmas``, too.
            times: the whole grid as times of this library, the last one included.

        Raises:
            PoleError: the method would evaluate at a pole.
            TypeError, ValueError: none or several of these; an impossible grid.
        """
        given = {"num_inference_steps": num_inference_steps, "timesteps": timesteps, "sigmas": sigmas, "times": times}
        ts = chosen(self.clock, self.spacing, given, mu)
        solve = invert(self.sampler.method, self.sampler.problem, ts)
        told = self.clock.of_times([call.time for call in solve.calls])
        dtype = torch.int64 if self.clock.discrete and self.clock.rounded else torch.float32
        on_host = torch.tensor(told, dtype=torch.float64).to(dtype)
        self._run, self.timesteps = Run(solve, on_host.tolist()), on_host.to(device or "cpu")
        self.num_inference_steps = len(ts) - 1

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Start at another evaluation than the first, one that begins a step, as image-to-image pipelines do.

        A method that needs a past starts there with steps of order 1, so that the timesteps stay what they are.

        Raises:
            ValueError: no such evaluation, or one inside a step.
        """
        self._run = Run(self._ready().solve, self._ready().told, begin_index)

    def index_for_timestep(self, timestep: float | Tensor, schedule_timesteps: Tensor | None = None) -> int:
        """Return the index of a timestep; where several evaluations have it, that which begins a step."""
        run = self._ready()
        return run.find(timestep, run.told if schedule_timesteps is None else schedule_timesteps.tolist())

    def scale_model_input(
        self, sample: Tensor, timestep: float | Tensor | None = None, generator: Generators = None
    ) -> Tensor:
        """Return where the network is to be called: at the sample, but before a first step that begins with noise.

        Args:
            sample: the state, or what ``step`` returned.
            timestep: the present timestep.
            generator: of that noise.
        """
        point: Tensor = self._ready().point(_raised(sample), timestep, _normals(sample, generator))
        return point.to(sample.dtype)

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> InterpolantSchedulerOutput | tuple[Tensor, Tensor | None]:
        """Take what the network returned, and return where it is to be called next.

        At the first evaluation of a step ``sample`` is the state, so that it may have been changed since the last call;
        at the others it is not read.

        Args:
            model_output: what the network returned, shape (B, ...).
            timestep: the present timestep.
            sample: the point at which it was called, shape (B, ...).
            generator: of the noise that is drawn before the next evaluation; torch's own if absent. With a list of B
                generators a sample does not depend on its batch.
            return_dict: whether to return an object, not a tuple.

        Raises:
            ValueError: before ``set_timesteps``; another timestep than the present one; shapes that differ.
        """
        run, x = self._ready(), _raised(sample)
        if model_output.shape != sample.shape:
            remedy = "split learned variances off the output before the step"
            wanted = f"a model output of the shape of the sample, {tuple(sample.shape)}"
            raise ValueError(explain(wanted, f"shape {tuple(model_output.shape)}", remedy))
        value = model_output.to(x.dtype)
        call, point, following = run.answer(value, timestep, x, _normals(sample, generator))
        data = None
        if call.time not in self._data.poles:
            data = self._data(call.time, point, value).to(sample.dtype)
        before = following.to(sample.dtype)
        return InterpolantSchedulerOutput(before, data) if return_dict else (before, data)

    def _ready(self) -> Run:
        if self._run is None:
            remedy = "call scheduler.set_timesteps(50) first"
            raise ValueError(explain("a scheduler with timesteps", "one before set_timesteps", remedy))
        return self._run

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        r"""Return :math:`\alpha_t x_{\mathrm{data}} + \sigma_t\varepsilon` at (B,) timesteps, or one for all."""
        times = self.clock.time(timesteps.to(original_samples.device, torch.float32))
        times = times.reshape(()) if times.numel() == 1 else times
        x, schedule = _raised(original_samples), self.sampler.schedule
        noisy: Tensor = pad(schedule.alpha(times), x) * x + pad(schedule.sigma(times), x) * noise.to(x.dtype)
        return noisy.to(original_samples.dtype)

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        """Return what :meth:`add_noise` does: its name in the pipelines of flow matching."""
        return self.add_noise(sample, noise, timestep)


def _raised(sample: Tensor) -> Tensor:
    """Return a sample in single precision or better."""
    return sample.to(torch.promote_types(sample.dtype, torch.float32))


def _normals(sample: Tensor, generator: Generators) -> Increment:
    """Return the increments of a Wiener process that the generator of a pipeline draws."""
    dtype = torch.promote_types(sample.dtype, torch.float32)

    def noise(t0: float, t1: float) -> Tensor:
        drawn = randn_tensor(sample.shape, generator=generator, device=sample.device, dtype=dtype)
        return drawn * math.sqrt(abs(t1 - t0))  # type: ignore[no-any-return]

    return noise


def _total(schedule: Schedule, given: int | None) -> int:
    """Return the number of timesteps T."""
    own = schedule.num_train_timesteps if isinstance(schedule, Discrete) else None
    if own is not None and given not in (None, own):
        remedy = "leave num_train_timesteps out"
        raise ValueError(explain(f"num_train_timesteps = {own}, that of the schedule", repr(given), remedy))
    return own or check_count("num_train_timesteps", 1000 if given is None else given)
