"""AdamW with parameter groups, warm-up and cosine decay, and a moving average of the weights."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from braid.config import did_you_mean
from braid.errors import UserError
from braid.training.sections import OptimizerConfig

BETAS = (0.9, 0.98)  # decay of the means of gradients and of their squares


def scale_of(name: str, scales: dict[str, float]) -> float:
    """The factor on a parameter's learning rate: that of the longest matching prefix, or 1."""
    matching = [start for start in scales if name == start or name.startswith(start.rstrip(".") + ".")]
    return scales[max(matching, key=len)] if matching else 1.0


def freeze(model: nn.Module, scales: dict[str, float]) -> None:
    """Freeze parameters with scale 0; those that a part froze itself stay frozen.

    Raises:
        UserError: when a scale matches no parameter.
    """
    names = [name for name, _ in model.named_parameters()]
    for start in scales:
        if not any(scale_of(name, {start: 0.0}) == 0.0 for name in names):
            tops = sorted({".".join(name.split(".")[:2]) for name in names})
            raise UserError(f"freeze or optimizer.scales: no parameter starts with {start!r}; {did_you_mean(start, tops)}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and scale_of(name, scales) != 0.0)


def _plain(method: Any) -> Any:
    """A method of torch's optimizers without its detour through torch's compiler, whose import takes 2 seconds of every run."""
    return getattr(method, "__wrapped__", method)


class AdamW(torch.optim.AdamW):
    """AdamW (arXiv:1711.05101) as torch has it; nothing here is compiled."""

    add_param_group = _plain(torch.optim.Optimizer.add_param_group)
    zero_grad = _plain(torch.optim.Optimizer.zero_grad)
    state_dict = _plain(torch.optim.Optimizer.state_dict)
    load_state_dict = _plain(torch.optim.Optimizer.load_state_dict)
    step = torch.no_grad()(_plain(torch.optim.AdamW.step))


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> AdamW:
    """AdamW over the trainable parameters, grouped by learning rate and weight decay.

    Raises:
        UserError: when no parameter can be trained.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decayed = parameter.ndim >= 2 and "embedding" not in name
            groups.setdefault((scale_of(name, config.scales), decayed), []).append(parameter)
    if not groups:
        raise UserError("every part of the model is frozen, so there is nothing to train; leave a part out of freeze")
    return AdamW(
        [
            {"params": parameters, "scale": scale, "weight_decay": config.weight_decay if decayed else 0.0}
            for (scale, decayed), parameters in groups.items()
        ],
        lr=config.learning_rate,
        betas=BETAS,
        fused=True,
    )


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """The learning rate of step ``step`` (from 0) of ``steps``. Warm-up takes at most a tenth of the steps."""
    warmup = min(config.warmup_steps, steps // 10)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(steps - warmup, 1)
    low = config.final
    return config.learning_rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


class MovingAverage:
    """Exponential moving average of the trainable weights. It follows faster early on: decay = min(d, (1+n)/(10+n))."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad and decay > 0}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        parameters = dict(model.named_parameters())
        if self.values:
            torch._foreach_lerp_(list(self.values.values()), [parameters[name] for name in self.values], 1 - decay)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Put the averaged weights into the model, for evaluation and saving, and restore the trained ones afterwards."""
        trained: dict[str, Tensor] = {}
        parameters = dict(model.named_parameters())
        for name, value in self.values.items():
            trained[name] = parameters[name].data
            parameters[name].data = value
        try:
            yield
        finally:
            for name, original in trained.items():
                parameters[name].data = original
