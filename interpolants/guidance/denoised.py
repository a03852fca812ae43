"""What acts on the prediction of the data, for models that predict something else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from interpolants.coefficient import Array, Coefficient, pad
from interpolants.combination import Combination
from interpolants.prediction import Data, Prediction, Velocity, conversion, expect_prediction
from interpolants.schedule import Schedule
from solvers.errors import explain

__all__ = ["Denoised"]


@dataclass(frozen=True)
class Denoised:
    r"""The prediction of the data as :math:`\hat x = A(t)x + B(t)p` of what the models predict.

    Where :math:`\sigma = 0`, B is 0 for most predictions and there is no way back from :math:`\hat x` to p. So nothing
    is converted back: what is done to a difference of data is done to the difference of predictions, B times smaller.
    """

    schedule: Schedule
    prediction: Prediction = Velocity
    _conversion: Combination = field(init=False, repr=False, compare=False)
    _slope: Coefficient = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.schedule, Schedule):
            raise TypeError(explain("a Schedule", repr(self.schedule), "pass that with which the model was trained"))
        found = conversion(self.schedule, expect_prediction(self.prediction, "prediction"), Data)
        object.__setattr__(self, "_conversion", found)
        object.__setattr__(self, "_slope", found.coefficients[1])

    def data(self, time: Any, x: Array, prediction: Array) -> Array:
        """Return the prediction of the data, shape of x."""
        return self._conversion(time, x, prediction)

    def slope(self, time: Any, x: Array) -> Any:
        """Return B, a float or, for an array of times, one value per sample."""
        return pad(self._slope(time), x)
