"""What training minimises, one file a kind; built for a run's task, tokenizer and rows."""

from braid.objectives.likelihood import Likelihood, LikelihoodConfig
from braid.objectives.self_critical import SelfCritical, SelfCriticalConfig

ObjectiveConfig = LikelihoodConfig | SelfCriticalConfig
Objective = Likelihood | SelfCritical

__all__ = ["Likelihood", "LikelihoodConfig", "Objective", "ObjectiveConfig", "SelfCritical", "SelfCriticalConfig"]
