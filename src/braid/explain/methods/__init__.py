"""Attribution methods, one module per kind: which patches and words influence an answer? Users choose a method by its ``kind``.

``attribute(subject)`` returns a score for every unit of every input and each output, and the method's own checks.
"""

from collections.abc import Sequence

from braid.config import did_you_mean, kinds
from braid.errors import UserError
from braid.explain.methods.attention import AttentionMaps, Rollout
from braid.explain.methods.grad_cam import GradCam
from braid.explain.methods.integrated_gradients import IntegratedGradients
from braid.explain.methods.occlusion import Occlusion
from braid.explain.methods.relevance import Relevance
from braid.explain.methods.shapley import ShapleyValues

Method = AttentionMaps | GradCam | IntegratedGradients | Occlusion | Relevance | Rollout | ShapleyValues

__all__ = [
    "AttentionMaps",
    "GradCam",
    "IntegratedGradients",
    "Method",
    "Occlusion",
    "Relevance",
    "Rollout",
    "ShapleyValues",
    "check_methods",
]


def check_methods(names: Sequence[str]) -> None:
    """
    Raises:
        UserError: for an unknown method.
    """
    for name in names:
        if name not in kinds(Method):
            raise UserError(f"there is no method {name!r}; {did_you_mean(name, list(kinds(Method)))}")
