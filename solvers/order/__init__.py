r"""The true order of a sampler: of this library, of another, or a function of your own.

Labels are easy to write. :func:`measure_order` runs the sampler on problems whose exact solutions are known and reports
the power of the step with which its error falls; ``sit lint`` prints the report.
"""

from solvers.order.catalogue import choices, find
from solvers.order.measure import measure_order
from solvers.order.report import Endpoint, Marginal, OrderReport

__all__ = ["Endpoint", "Marginal", "OrderReport", "choices", "find", "measure_order"]
