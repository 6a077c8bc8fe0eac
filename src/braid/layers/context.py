"""The context in which a part of a model is built: modalities, sizes and other parts, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from braid.config import did_you_mean, named
from braid.errors import UserError
from braid.layers.image_tokens import TokenCodec
from braid.modalities import InputModality, OutputModality
from braid.records import BatchInput

Augment = Callable[[BatchInput], BatchInput]


@dataclass
class Hooks:
    """Callbacks that parts register while they are built.

    ``whole`` is called once with the decoders, when all parts exist. ``augment`` is called for its input in every training step.
    """

    whole: list[tuple[str, Callable[[Mapping[str, nn.Module]], None]]] = field(default_factory=list)
    augment: dict[str, Augment] = field(default_factory=dict)

    def finish(self, decoders: Mapping[str, nn.Module]) -> None:
        for where, connect in self.whole:
            with named(where):
                connect(decoders)


@dataclass(frozen=True)
class BuildContext:
    """The argument of every config's ``build``.

    Args:
        name: the input that the part reads (an encoder) or the output that it writes (a decoder, a codec).
        inputs: the model's input modalities, by name.
        outputs: the model's output modalities, by name.
        encoders: names of the inputs that are fused, in order.
        width: the shared width of the features that are fused.
        memory_width: the width of the fusion's output; decoders know it.
        native_widths: the widths of what the encoders give, by input; decoders know them.
        codecs: the model's codecs, by output.
        hooks: see ``Hooks``.
    """

    name: str = ""
    inputs: Mapping[str, InputModality] = field(default_factory=dict)
    outputs: Mapping[str, OutputModality] = field(default_factory=dict)
    encoders: tuple[str, ...] = ()
    width: int = 0
    memory_width: int = 0
    native_widths: Mapping[str, int] = field(default_factory=dict)
    codecs: Mapping[str, nn.Module] = field(default_factory=dict)
    hooks: Hooks = field(default_factory=Hooks)

    @property
    def input(self) -> Any:
        """The modality that an encoder reads."""
        return self.inputs[self.name]

    @property
    def output(self) -> Any:
        """The modality that a decoder or a codec writes."""
        return self.outputs[self.name]

    def codec(self, name: str, missing: str) -> TokenCodec:
        """The codec of an output. It is frozen, because its tokens must keep their meaning.

        Args:
            missing: the first half of the error where the model has no such codec.
        """
        if name not in self.codecs:
            raise UserError(f"{missing}; name a run of the task reconstruction in initialize: {{codecs.{name}: RUN}}")
        codec: Any = self.codecs[name].requires_grad_(False)
        return codec

    def check_alike(self, input: str, output: str, why: str) -> None:
        """
        Raises:
            UserError: if images of ``input`` are prepared differently from those of ``output``, whose codec reads them.
        """
        if self.inputs[input].config != self.outputs[output].config:
            raise UserError(
                f"{why}, and the two are prepared differently; "
                f"give inputs.{input} what outputs.{output} has: {self.outputs[output].config}"
            )

    def augment(self, input: str, change: Augment) -> None:
        """Let ``change`` alter an input in every training step, before any part reads it."""
        self.hooks.augment[input] = change

    def with_decoder(self, name: str, setting: str, connect: Callable[[nn.Module], None]) -> None:
        """Call ``connect`` with a decoder once it is built; ``setting`` is the name of the setting that names it."""

        def find(decoders: Mapping[str, nn.Module]) -> None:
            if name not in decoders:
                raise UserError(f"{setting} is {name!r}; {did_you_mean(name, list(decoders))}")
            connect(decoders[name])

        self.hooks.whole.append((f"encoders.{self.name}", find))
