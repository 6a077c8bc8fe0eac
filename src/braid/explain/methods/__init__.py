"""Ways to say which patches and words moved an answer, one file a kind; ``kind`` is the name that people choose it by.

``attribute(subject)`` gives every unit of every input a score for each output, and what the method found about itself.
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
        UserError: for a name that is no method's.
    """
    for name in names:
        if name not in kinds(Method):
            raise UserError(f"there is no method {name!r}; {did_you_mean(name, list(kinds(Method)))}")
