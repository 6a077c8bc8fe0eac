"""What training minimises, one file a kind; built for a run's task, tokenizer and rows."""

from braid.objectives.contrastive import Contrastive, ContrastiveConfig
from braid.objectives.likelihood import Likelihood, LikelihoodConfig
from braid.objectives.self_critical import SelfCritical, SelfCriticalConfig

ObjectiveConfig = ContrastiveConfig | LikelihoodConfig | SelfCriticalConfig
Objective = Contrastive | Likelihood | SelfCritical

__all__ = [
    "Contrastive",
    "ContrastiveConfig",
    "Likelihood",
    "LikelihoodConfig",
    "Objective",
    "ObjectiveConfig",
    "SelfCritical",
    "SelfCriticalConfig",
]
