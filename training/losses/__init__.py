"""Distillation losses, one a file: see ``training.losses.base.Loss`` for what they take.

Potentials (``relations``) and penalties (``penalties``) are separate; a loss puts one of each together.
"""

from training.losses.base import Loss, LossContext
from training.losses.contrast import GuideContrast
from training.losses.crd import Crd
from training.losses.cross_entropy import CrossEntropy
from training.losses.crrcd import Crrcd
from training.losses.horkd import Horkd
from training.losses.kd import Kd
from training.losses.order1 import FirstOrder
from training.losses.order2 import SecondOrder
from training.losses.order3 import ThirdOrder
from training.losses.order_c import CentreOrder
from training.losses.relational_kl import RelationalKL
from training.losses.rkd_angle import RkdAngle
from training.losses.rkd_distance import RkdDistance

LOSSES: dict[str, type[Loss]] = {
    "order1": FirstOrder,
    "order2": SecondOrder,
    "order3": ThirdOrder,
    "order_c": CentreOrder,
    "horkd": Horkd,
    "crrcd": Crrcd,
    "relational_kl": RelationalKL,
    "cross_entropy": CrossEntropy,
    "kd": Kd,
    "rkd_distance": RkdDistance,
    "rkd_angle": RkdAngle,
    "crd": Crd,
    "contrast": GuideContrast,
}

__all__ = ["LOSSES", "FirstOrder", "Loss", "LossContext", "RelationalKL"]
