"""What SiT's interface calls a transport: a path, what the model predicts, and its loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch
from sympy import Integer
from torch import Generator, Tensor

from interpolants.adapters.transport.kinds import ModelType, PathType, WeightType, named
from interpolants.adapters.transport.path_sampler import PathSampler, flip, single
from interpolants.combination import Combination, expect_shape
from interpolants.dynamics import drift_combination
from interpolants.objective import Objective
from interpolants.prediction import Score, conversion
from interpolants.times import Uniform
from solvers.errors import explain

__all__ = ["Transport", "create_transport"]

Field = Callable[..., Tensor]


def create_transport(
    path_type: str = "Linear",
    prediction: str = "velocity",
    loss_weight: str | None = None,
    train_eps: float | None = None,
    sample_eps: float | None = None,
) -> Transport:
    r"""Return a transport from names.

    >>> import torch
    >>> from interpolants.adapters.transport import Sampler, create_transport
    >>> transport = create_transport("GVP", "noise")
    >>> transport.train_eps, transport.sample_eps
    (0.001, 0.001)
    >>> losses = transport.training_losses(lambda x, t: 0 * x, torch.zeros(4, 3, 2, 2))["loss"]
    >>> losses.shape
    torch.Size([4])
    >>> sample = Sampler(create_transport()).sample_ode(sampling_method="euler", num_steps=5)
    >>> sample(torch.ones(4, 3, 2, 2), lambda x, t: x).shape
    torch.Size([5, 4, 3, 2, 2])

    Args:
        path_type: ``"Linear"``, ``"GVP"`` or ``"VP"`` (β from 0.1 to 20).
        prediction: ``"velocity"``, ``"noise"`` or ``"score"``.
        loss_weight: of a noise or score model: None, ``"velocity"`` (λ²) or ``"likelihood"`` (κ/σ²).
        train_eps: how far training times stay from the ends; each eps has its own default: under VP 1e-5, under Linear
            and GVP 1e-3 for noise and scores and 0 for a velocity.
        sample_eps: likewise for sampling; under VP 1e-3.

    Raises:
        ValueError: a name that is not known; ``"likelihood"`` with a velocity model; an eps outside [0, ½).
    """
    model = ModelType(named("prediction", prediction, {kind.value: kind.value for kind in ModelType}))
    path = PathType(named("path_type", path_type, {kind.value: kind.value for kind in PathType}))
    weight = WeightType.NONE
    if loss_weight is not None:
        weight = named("loss_weight (or None)", loss_weight, {str(kind.value): kind for kind in list(WeightType)[1:]})
    near = 0.0 if model is ModelType.VELOCITY else 1e-3
    training, sampling = (1e-5, 1e-3) if path is PathType.VP else (near, near)
    return Transport(
        model_type=model,
        path_type=path,
        loss_type=weight,
        train_eps=training if train_eps is None else train_eps,
        sample_eps=sampling if sample_eps is None else sample_eps,
    )


class Transport:
    r"""A path, what the model predicts, and its loss; made by :func:`create_transport`.

    Args:
        model_type: what the model predicts.
        path_type: the interpolant.
        loss_type: the weight of the loss.
        train_eps: how far training times stay from the ends.
        sample_eps: how far sampling times do.

    Attributes:
        path_sampler: the coefficients of the path, a :class:`PathSampler`.

    References: Ma et al. (2024), SiT, arXiv 2401.08740, and its published code.
    """

    def __init__(
        self,
        *,
        model_type: ModelType,
        path_type: PathType,
        loss_type: WeightType,
        train_eps: float,
        sample_eps: float,
    ) -> None:
        for name, eps in (("train_eps", train_eps), ("sample_eps", sample_eps)):
            if not isinstance(eps, (int, float)) or not 0.0 <= eps < 0.5:
                raise ValueError(explain(f"{name}: a number in [0, 0.5)", repr(eps), "pass 1e-3, or leave it out"))
        if loss_type is WeightType.LIKELIHOOD and model_type is ModelType.VELOCITY:
            remedy = "leave it out, or train with interpolants.Objective and weights.Likelihood()"
            raise ValueError(explain("no such weight for a velocity model", "loss_weight='likelihood'", remedy))
        self.model_type, self.path_type, self.loss_type = model_type, path_type, loss_type
        self.train_eps, self.sample_eps = train_eps, sample_eps
        self.path_sampler = PathSampler(path_type.schedule)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the loss, which is made of functions and made again when it is asked for."""
        return {name: part for name, part in vars(self).items() if name != "objective"}

    @property
    def sign(self) -> float:
        """The factor that makes the output a prediction of this library, whose velocities point the other way."""
        return -1.0 if self.model_type is ModelType.VELOCITY else 1.0

    @cached_property
    def objective(self) -> Objective:
        """The loss that :meth:`training_losses` computes.

        Raises:
            ValueError: an infinite expected loss, for want of a ``train_eps``.
        """
        t0, t1 = self.check_interval(self.train_eps, self.sample_eps)
        times = Uniform(1 - t1, 1 - t0)
        return Objective(self.path_sampler.schedule, self.model_type.prediction, self.loss_type.weight, times)

    def prior_logp(self, z: Tensor) -> Tensor:
        """Return the log-density of the standard normal, shape (B,), at z of shape (B, …)."""
        rows = z.to(single(z.dtype)).reshape(len(z), -1)
        return -0.5 * (rows.shape[1] * math.log(2.0 * math.pi) + (rows**2).sum(1))

    def check_interval(
        self,
        train_eps: float,
        sample_eps: float,
        *,
        diffusion_form: str = "SBDM",
        sde: bool = False,
        reverse: bool = False,
        eval: bool = False,  # noqa: A002 - the published name
        last_step_size: float = 0.0,
    ) -> tuple[float, float]:
        r"""Return the first and last :math:`t'`: of training, or with ``eval`` of sampling.

        Args:
            train_eps: used without ``eval``.
            sample_eps: used with it.
            diffusion_form: of an SDE.
            sde: whether an SDE is solved; its last step is ``last_step_size`` long, if that is not 0.
            reverse: from data to noise.
            eval: whether it is for sampling.
            last_step_size: of an SDE.
        """
        eps = sample_eps if eval else train_eps
        left = last_step_size if sde and last_step_size else eps
        velocity = self.model_type is ModelType.VELOCITY
        if self.path_type is PathType.VP:
            t0, t1 = 0.0, 1.0 - left
        elif velocity and not sde:
            t0, t1 = 0.0, 1.0
        else:
            t0, t1 = (0.0 if velocity and diffusion_form != "SBDM" else eps), 1.0 - left
        return (t1, t0) if reverse else (t0, t1)

    def sample(self, x1: Tensor, *, generator: Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        r"""Draw times and noise for data; return :math:`t', x_0, x_1`.

        Args:
            x1: data, shape (B, …).
            generator: torch's own if absent.
        """
        place: Any = x1.device if generator is None else generator.device
        x0 = torch.randn(x1.shape, generator=generator, device=place, dtype=x1.dtype).to(x1.device)
        t0, t1 = self.check_interval(self.train_eps, self.sample_eps)
        uniforms = torch.rand((len(x1),), generator=generator, device=None if generator is None else place)
        return (uniforms * (t1 - t0) + t0).to(x1.device, single(x1.dtype)), x0, x1

    def training_losses(
        self,
        model: Field,
        x1: Tensor,
        model_kwargs: Mapping[str, Any] | None = None,
        *,
        generator: Generator | None = None,
    ) -> dict[str, Tensor]:
        r"""Return ``{"pred": …, "loss": …}``: what the model predicted, and the loss of every sample, shape (B,).

        Times and loss are in single precision or better whatever ``x1`` is; the model gets :math:`x_{t'}` in the dtype
        of ``x1``.

        Args:
            model: ``model(x, t, **model_kwargs)``.
            x1: data, shape (B, …).
            model_kwargs: such as ``{"y": labels}``.
            generator: torch's own if absent.

        Raises:
            ValueError: an output of another shape; an infinite expected loss.
        """
        t, x0, x1 = self.sample(x1, generator=generator)
        batch = self.objective.at(x1, x0, flip(t))
        output = model(batch.x_t.to(x1.dtype), t, **(model_kwargs or {}))
        expect_shape(output, x1)
        loss = self.objective.integrand(self.sign * output, batch.target, batch.time)
        return {"pred": output, "loss": loss}

    def get_drift(self) -> Field:
        """Return the drift of the probability flow in :math:`t'`, ``drift(x, t, model, **model_kwargs)``."""
        schedule, prediction = self.path_sampler.schedule, self.model_type.prediction
        label = f"the probability flow of a {prediction} model"
        return self._field(drift_combination(schedule, prediction, Integer(0), label), -1.0)

    def get_score(self) -> Field:
        """Return the score, ``score(x, t, model, **model_kwargs)``."""
        return self._field(conversion(self.path_sampler.schedule, self.model_type.prediction, Score), 1.0)

    def _field(self, combination: Combination, sign: float) -> Field:
        def field(x: Tensor, t: Tensor, model: Field, **model_kwargs: Any) -> Tensor:
            output = model(x, t, **model_kwargs)
            expect_shape(output, x)
            value: Tensor = sign * combination(flip(t), x, self.sign * output)
            return value

        return field
