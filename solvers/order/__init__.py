from solvers.order.measure import measure_order
from solvers.order.report import Endpoint, Marginal, OrderReport

__all__ = ["Endpoint", "Marginal", "OrderReport", "measure_order"]
