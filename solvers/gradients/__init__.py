r"""Derivatives of the end of a solve with respect to its start and to what the problem is made of.

Three ways, with n steps of s evaluations each:

- ``solve`` on torch or jax arrays that are being differentiated: the derivative of the discrete map, to rounding. The
  intermediate numbers of all n s evaluations are kept.
- :func:`checkpointed`: the same derivative. Those of about :math:`\sqrt n` steps are kept, and each evaluation is made
  once more on the way back.
- :func:`adjoint`: the derivative of the continuous flow, by an ODE solved backwards. Nothing is kept, whatever n; the
  result differs from the derivative of the discrete map by an error of the order of the method.
"""

from solvers.gradients.checkpoints import checkpointed
from solvers.gradients.continuous import adjoint

__all__ = ["adjoint", "checkpointed"]
