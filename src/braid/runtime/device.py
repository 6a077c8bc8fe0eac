"""The device on which torch computes (cpu, cuda, mps), and CUDA graphs: one decoder step in one launch."""

import os
from collections import Counter, OrderedDict
from collections.abc import Mapping
from functools import partial
from threading import Lock

import torch
from torch import Tensor

from braid.environment import place_in_group
from braid.errors import UserError
from braid.layers.attention import StepwiseTransformer
from braid.records import Fused
from braid.shapes import Float, Int

AUTO = "auto"
CPU = torch.device("cpu")
AFTER = 16  # steps of one size before a graph is recorded
KEPT = 16  # graphs of a decoder; the least recently used one is dropped
COUNTED = 1000  # sizes that are counted
RECORDING = Lock()  # torch records one graph at a time
AT = "position"  # in a state: the position of the next token, [1]

if hasattr(os, "register_at_fork"):  # a forked process has none of torch's threads, and would wait for them for ever
    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))


def find_device(name: str = AUTO) -> torch.device:
    """The device of this name; ``auto`` is a GPU if there is one. Each of several processes gets a GPU of its own.

    Raises:
        UserError: when torch does not know the name, or the device does not exist.
    """
    if name == AUTO:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device is {name!r}; choose auto, cpu, cuda, cuda:1 or mps") from None
    if name == "cuda":
        device = torch.device("cuda", place_in_group("LOCAL_RANK", 0))
    if device.type == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(False)  # its bfloat16 gradients were NaN; the other backends are correct
    if (number := _number_of(device.type)) <= (device.index or 0):
        there = f"torch sees {number} of this kind" if number else f"torch {torch.__version__} sees none of this kind"
        raise UserError(f"device is {name!r}, and {there}; choose auto, cpu or another")
    return device


def _number_of(kind: str) -> int:
    if kind == "cuda":
        return torch.cuda.device_count()
    return int(kind == "cpu" or (kind == "mps" and torch.backends.mps.is_available()))


def finish(device: torch.device) -> None:
    """Wait until the GPU has finished its work; on the CPU there is nothing to wait for."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


State = dict[str, Tensor]
Sizes = tuple[tuple[int, ...], ...]


class GraphedSteps:
    """The decode protocol, with CUDA graphs for frequent sizes. ``room``: the maximum number of tokens of a text or image."""

    def __init__(self, decoder: StepwiseTransformer, room: int) -> None:
        self._decoder, self._room = decoder, room
        self._graphs: OrderedDict[Sizes, _Graph] = OrderedDict()
        self._seen: Counter[Sizes] = Counter()
        self._lock = Lock()

    @property
    def recorded(self) -> int:
        """The number of recorded graphs."""
        return len(self._graphs)

    def start(self, fused: Fused) -> State:
        state = self._decoder.start(fused)
        for name in ("cache.keys", "cache.values"):
            *sizes, _, width = state[name].shape
            state[name] = state[name].new_zeros(*sizes, self._room, width)
        return {**state, AT: torch.zeros(1, dtype=torch.long, device=fused.values.device)}

    def step(self, tokens: Int[Tensor, "batch group"], state: State) -> tuple[Float[Tensor, "batch group codes"], State]:
        sizes = (tuple(tokens.shape), *(tuple(value.shape) for value in state.values()))
        if tokens.device.type == "cuda" and not torch.is_autocast_enabled(
            "cuda"
        ):  # autocast frees its casts before the graph does
            with self._lock:
                if graph := self._graph(sizes, tokens, state):
                    return graph(tokens, state)
        own = {name: value.clone() if name.startswith("cache.") else value for name, value in state.items()}
        logits, _ = self._decoder.step(tokens, own, state[AT])
        return logits, {**own, AT: state[AT] + 1}

    def reorder(self, state: State, parents: Int[Tensor, "batch group"]) -> State:
        return self._decoder.reorder(state, parents)

    def _graph(self, sizes: Sizes, tokens: Int[Tensor, "batch group"], state: State) -> "_Graph | None":
        """The graph of these sizes, if they have occurred often enough."""
        if sizes in self._graphs:
            self._graphs.move_to_end(sizes)
            return self._graphs[sizes]
        if len(self._seen) > COUNTED:
            self._seen.clear()
        self._seen[sizes] += 1
        if self._seen[sizes] <= AFTER:
            return None
        del self._seen[sizes]
        if len(self._graphs) == KEPT:
            self._graphs.popitem(last=False)
        try:
            with RECORDING, torch.cuda.device(tokens.device):
                self._graphs[sizes] = _Graph(self._decoder, tokens, state)
        except torch.cuda.OutOfMemoryError:  # plain steps need less memory
            return None
        return self._graphs[sizes]


class _Graph:
    """One recorded step, and the tensors that it reads and writes, on the current GPU."""

    def __init__(self, decoder: StepwiseTransformer, tokens: Int[Tensor, "batch group"], state: Mapping[str, Tensor]) -> None:
        self._tokens, self._state = tokens.clone(), {name: value.clone() for name, value in state.items()}
        self._copied: dict[str, Tensor] = {}  # values already in the graph's tensors: the memory is constant during a text
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # lets libraries allocate their workspaces before the recording
            decoder.step(self._tokens, self._state, self._state[AT])
        torch.cuda.current_stream().wait_stream(stream)
        self._launch = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._launch, stream=stream, capture_error_mode="thread_local"):
            self._logits, _ = decoder.step(self._tokens, self._state, self._state[AT])

    def __call__(self, tokens: Int[Tensor, "batch group"], state: State) -> tuple[Float[Tensor, "batch group codes"], State]:
        self._tokens.copy_(tokens)
        for name, value in state.items():
            if self._copied.get(name) is not value:
                self._state[name].copy_(value)
            if name.startswith("memory."):
                self._copied[name] = value
        self._launch.replay()
        own = {name: self._state[name].clone() if name.startswith("cache.") else value for name, value in state.items()}
        return self._logits.clone(), {**own, AT: state[AT] + 1}
