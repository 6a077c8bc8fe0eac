"""A decoder's step on an NVIDIA GPU in one launch: a CUDA graph.

A step of a small decoder is a hundred small kernels, and the card waits for the processor to launch each. A graph of them is
recorded once and launched whole; it is bound to sizes and addresses, so the cache has room for the longest text or picture from
the start, and states are copied into the graph's own tensors and out of them.
"""

from collections import Counter, OrderedDict
from collections.abc import Mapping
from threading import Lock

import torch
from torch import Tensor

from braid.layers.attention import StepwiseTransformer
from braid.records import Fused
from braid.shapes import Float, Int

AFTER = 16  # steps of one size before they are worth a graph
KEPT = 16  # graphs of a decoder; of more sizes than that the one that has waited longest goes
COUNTED = 1000  # sizes
RECORDING = Lock()  # torch records one graph at a time
AT = "position"  # in a state: the place of the next token, [1]

State = dict[str, Tensor]
Sizes = tuple[tuple[int, ...], ...]


class GraphedSteps:
    """The decode protocol over a decoder, like the decoder's own; ``room``: the most tokens of a text or picture."""

    def __init__(self, decoder: StepwiseTransformer, room: int) -> None:
        self._decoder, self._room = decoder, room
        self._graphs: OrderedDict[Sizes, _Graph] = OrderedDict()
        self._seen: Counter[Sizes] = Counter()
        self._lock = Lock()

    @property
    def recorded(self) -> int:
        """How many graphs there are."""
        return len(self._graphs)

    def start(self, fused: Fused) -> State:
        state = self._decoder.start(fused)
        for name in ("cache.keys", "cache.values"):
            *sizes, _, width = state[name].shape
            state[name] = state[name].new_zeros(*sizes, self._room, width)
        return {**state, AT: torch.zeros(1, dtype=torch.long, device=fused.values.device)}

    def step(self, tokens: Int[Tensor, "batch group"], state: State) -> tuple[Float[Tensor, "batch group codes"], State]:
        sizes = (tuple(tokens.shape), *(tuple(value.shape) for value in state.values()))
        if tokens.device.type == "cuda" and not torch.is_autocast_enabled("cuda"):  # its casts would be gone before the graph is
            with self._lock:
                if graph := self._graph(sizes, tokens, state):
                    return graph(tokens, state)
        own = {name: value.clone() if name.startswith("cache.") else value for name, value in state.items()}
        logits, _ = self._decoder.step(tokens, own, state[AT])
        return logits, {**own, AT: state[AT] + 1}

    def reorder(self, state: State, parents: Int[Tensor, "batch group"]) -> State:
        return self._decoder.reorder(state, parents)

    def _graph(self, sizes: Sizes, tokens: Int[Tensor, "batch group"], state: State) -> "_Graph | None":
        """That of these sizes, once they have been seen often enough."""
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
        except torch.cuda.OutOfMemoryError:  # plain steps need less
            return None
        return self._graphs[sizes]


class _Graph:
    """One recorded step, and the tensors it reads and writes, on the current GPU."""

    def __init__(self, decoder: StepwiseTransformer, tokens: Int[Tensor, "batch group"], state: Mapping[str, Tensor]) -> None:
        self._tokens, self._state = tokens.clone(), {name: value.clone() for name, value in state.items()}
        self._shown: dict[str, Tensor] = {}  # what stands in the graph's tensors: memory stays the same for a whole text
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # libraries take their workspaces before a graph is recorded
            decoder.step(self._tokens, self._state, self._state[AT])
        torch.cuda.current_stream().wait_stream(stream)
        self._launch = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._launch, stream=stream, capture_error_mode="thread_local"):
            self._logits, _ = decoder.step(self._tokens, self._state, self._state[AT])

    def __call__(self, tokens: Int[Tensor, "batch group"], state: State) -> tuple[Float[Tensor, "batch group codes"], State]:
        self._tokens.copy_(tokens)
        for name, value in state.items():
            if self._shown.get(name) is not value:
                self._state[name].copy_(value)
            if name.startswith("memory."):
                self._shown[name] = value
        self._launch.replay()
        own = {name: self._state[name].clone() if name.startswith("cache.") else value for name, value in state.items()}
        return self._logits.clone(), {**own, AT: state[AT] + 1}
