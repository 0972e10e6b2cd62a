"""One optimiser step: forward, backward, gradients clipped, the optimisers' steps.

On a GPU a small model's step takes longer to launch, kernel by kernel, than to compute. There it is
recorded once for every batch size as a CUDA graph, and replayed: the same kernels on the same
memory, of which only the contents change.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clarity.models.base import Autoencoder
from clarity.models.lean import take_step
from clarity.models.loss import REPLAYED
from clarity.params import Train
from clarity.train.parallel import Team

#: Steps of a batch size that are taken one by one before it is recorded: libraries choose and
#: allocate in them what a recording may not.
FIRST = 3


@dataclass
class _Recorded:
    """A step as a graph, and the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    x: Tensor
    given: Tensor | None
    norm: Tensor


class Step:
    """Takes the steps of one training.

    Args:
        network: on its device.
        optimizers: of its parameters; on a GPU with their rates in tensors (`set_rate`).
        recipe: its clipping norm and loss.
        precision: ``fp32`` or ``bf16``.
        team: that shares every batch; None: this process alone.
    """

    def __init__(
        self,
        network: Autoencoder,
        optimizers: list[torch.optim.Optimizer],
        recipe: Train,
        precision: str,
        team: Team | None = None,
    ) -> None:
        self._network = network
        self._optimizers = optimizers
        self._clip = recipe.clip
        self._device = next(network.parameters()).device
        self._precision = precision
        self._team = team
        losses = {recipe.loss} if isinstance(recipe.loss, str) else set(recipe.loss)
        alike = network.replayable and losses <= REPLAYED
        replays = self._device.type == "cuda" and alike and team is None
        self._stream = torch.cuda.Stream(self._device) if replays else None  # type: ignore[no-untyped-call]
        self._taken: dict[int, int] = {}
        self._recorded: dict[int, _Recorded] = {}

    def __call__(
        self, x: Tensor, given: Tensor | None, progress: float, draws: torch.Generator
    ) -> float:
        """Take one; the gradient's norm before it was clipped.

        Args:
            x: images, N×C×H×H in [-1, 1].
            given: what the network is to make ``x`` from; None: ``x`` itself.
            progress: share of all steps already taken.
            draws: source of noise, where the family needs any.
        """
        if self._stream is None:
            return float(self._take(x, given, progress, draws))
        count = len(x)
        found = self._recorded.get(count)
        if found is None and self._taken.get(count, 0) >= FIRST:
            found = self._recorded[count] = self._record(x, given, progress, draws)
        if found is None:
            self._taken[count] = self._taken.get(count, 0) + 1
            # Where recording will run: what autograd remembers of a stream must be this one.
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                norm = float(self._take(x, given, progress, draws))
            torch.cuda.current_stream().wait_stream(self._stream)
            return norm
        found.x.copy_(x)
        if found.given is not None and given is not None:
            found.given.copy_(given)
        found.graph.replay()
        return float(found.norm)

    def _take(
        self, x: Tensor, given: Tensor | None, progress: float, draws: torch.Generator
    ) -> Tensor:
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        parameters = list(self._network.parameters())
        if self._team is None:
            self._backward(x, given, progress, draws)
        else:
            count, mine = len(x), self._team.share(len(x))
            self._network.share = count, mine
            if mine.start < mine.stop:
                some = None if given is None else given[mine]
                self._backward(x[mine], some, progress, draws, part=len(x[mine]) / count)
            self._network.share = None
            self._team.add_up(parameters)
        norm = clip(parameters, self._clip)
        for optimizer in self._optimizers:
            take_step(optimizer)
        return norm

    def _backward(
        self,
        x: Tensor,
        given: Tensor | None,
        progress: float,
        draws: torch.Generator,
        part: float = 1.0,
    ) -> None:
        """Gradients of the loss of these images, which are this part of a batch."""
        with autocast(self._device, self._precision):
            loss, _ = self._network.training_loss(x, progress, draws, given=given)
        torch.autograd.backward(loss if part == 1 else loss * part)

    def _record(
        self, x: Tensor, given: Tensor | None, progress: float, draws: torch.Generator
    ) -> _Recorded:
        """The step on copies of these batches, written down and not taken."""
        inputs, noisy = x.clone(), None if given is None else given.clone()
        torch.cuda.synchronize(self._device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            norm = self._take(inputs, noisy, progress, draws)
        return _Recorded(graph, inputs, noisy, norm)


def clip(parameters: list[nn.Parameter], longest: float) -> Tensor:
    """Scale the gradients down to this norm where theirs is larger; theirs.

    `torch.nn.utils.clip_grad_norm_` multiplies by 1 where nothing is to be clipped, since to ask a
    GPU would be to wait for it. A CPU need not ask, and that is nearly always: going through the
    gradients twice more is a tenth of a step of a wide fully connected network.
    """
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if norm.is_cuda or not bool(longest / (norm + 1e-6) >= 1):
        nn.utils.clip_grads_with_norm_(parameters, longest, norm)
    return norm


def autocast(device: torch.device, precision: str) -> torch.autocast | nullcontext[None]:
    """The context in which a network computes in this precision."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
