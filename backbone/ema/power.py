r"""Power-function average of a network's weights."""

from __future__ import annotations

import math
from typing import Generic

from backbone.ema.moving import M, averaging_copy, move
from backbone.ema.profile import Profile, gamma_of, sigma_rel_of
from solvers.errors import explain

__all__ = ["PowerEMA"]


class PowerEMA(Generic[M]):
    r"""Average whose width is a fixed fraction of the training so far, and which forgets the initial weights.

    .. math:: \hat\theta_n = \beta_n \hat\theta_{n-1} + (1 - \beta_n)\,\theta_n, \qquad
              \beta_n = \Bigl(1 - \frac1n\Bigr)^{\gamma + 1}

    Since :math:`\beta_1 = 0` and the product of decays telescopes, the weight of :math:`\theta_k` after n updates is

    .. math:: (1 - \beta_k) \prod_{j=k+1}^n \beta_j = \frac{k^{\gamma+1} - (k-1)^{\gamma+1}}{n^{\gamma+1}}
              = \int_{k-1}^{k} p_{\gamma,n}(\tau)\,d\tau,

    so the average is exactly the integral of :class:`backbone.ema.Profile` along the weights held constant between
    updates, :math:`\theta(\tau) = \theta_k` for :math:`k - 1 < \tau \le k`. It is kept in float32 or better.

    A run is resumed with the weights of ``model`` and the number ``updates``; the decay depends on nothing else.

    Args:
        model: the network; it is copied, and the copy is ``model``, in evaluation mode and without gradients.
        sigma_rel: relative width in :math:`(0, 1/\sqrt{12}]`; 0.05 where no ``gamma`` is given.
        gamma: the exponent :math:`\gamma \ge 0`, in place of ``sigma_rel``.

    Raises:
        ValueError: a number outside its range, or both numbers.

    References: Karras et al. (2024), arXiv:2312.02696, section 3.1 and appendix C.
    """

    def __init__(self, model: M, sigma_rel: float | None = None, *, gamma: float | None = None) -> None:
        if sigma_rel is not None and gamma is not None:
            raise ValueError(explain("sigma_rel or gamma", f"both, {sigma_rel} and {gamma}", "leave out one"))
        if gamma is None:
            self.sigma_rel = 0.05 if sigma_rel is None else sigma_rel
            self.gamma = gamma_of(self.sigma_rel)
        else:
            self.gamma, self.sigma_rel = gamma, sigma_rel_of(gamma)
        self.updates = 0
        self.model: M = averaging_copy(model)

    @property
    def profile(self) -> Profile:
        """The weights of the average as it is now."""
        return Profile(self.gamma, self.updates)

    def update(self, model: M) -> None:
        """Move the average towards the weights of ``model``; buffers and integer parameters are copied."""
        self.updates += 1
        n = self.updates
        # 1 - β_n without the cancellation, which for large n takes digits; the logarithm of zero is left out.
        weight = -math.expm1((self.gamma + 1) * math.log1p(-1 / n)) if n > 1 else 1.0
        move(self.model, model, weight)
