"""One training by several processes: each takes its share of every batch, gradients are summed.

Draws are those of one process, and every share counts by its images, so the gradient is that of the
whole batch, up to the order of its sums (data parallelism: Li et al., "PyTorch Distributed", VLDB
2020). The first process leads: it alone measures, keeps checkpoints and writes; it starts the
others itself, or `torchrun` starts all.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.distributed
from torch import Tensor, nn
from torch.distributed import FileStore  # type: ignore[attr-defined]

from clarity.errors import ClarityError, in_a_line
from clarity.processes import LOCAL, RANK, SIZE, identity, when_gone
from clarity.train.checkpoint import Checkpoint

#: Set by a leader: the file by which its processes find each other.
STORE = "CLARITY_TEAM"
#: How long the processes may take to find each other, and one of them to be heard of again: a
#: picture or an epoch's measures may take a while.
GREETING, SILENCE = timedelta(minutes=10), timedelta(hours=1)
#: Seconds that the others have to end after the leader has.
GRACE = 10.0


@dataclass(frozen=True)
class Team:
    """The processes of one training, as one of them sees it.

    Attributes:
        rank: which one it is; 0 leads.
        size: how many there are.
    """

    rank: int
    size: int

    def share(self, count: int) -> slice:
        """Which of so many images are this process's; none of them where there are too few."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def add_up(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace every gradient by the sum of all processes'; no gradient counts as 0.

        Raises:
            Lost: another process is gone.
        """
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        together = torch.cat([_in_order(gradient) for gradient in gradients])
        self._exchanged(together, total=True)
        parts = torch.split(together, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            _in_order(gradient).copy_(part)

    def agreed(self, values: Mapping[str, float]) -> dict[str, float]:
        """The leader's values of the same names: what processes decide by must be one number."""
        found = torch.tensor(list(values.values()), dtype=torch.float64)
        if torch.distributed.get_backend() == "nccl":
            found = found.cuda()
        self._exchanged(found, total=False)
        return dict(zip(values, found.tolist(), strict=True))

    def _exchanged(self, values: Tensor, *, total: bool) -> None:
        try:
            if total:
                torch.distributed.all_reduce(values)
            else:
                torch.distributed.broadcast(values, 0)
        except RuntimeError as error:
            raise Lost(
                f"process {self.rank + 1} of {self.size} lost the others ({in_a_line(error)}); the "
                "same command goes on from the last checkpoint"
            ) from None


class Lost(ClarityError):
    """Another process of the training is gone."""


class Following(Checkpoint):
    """A leader's checkpoint as the others see it: read, never written."""

    due = False

    def save(self, *_: object) -> None:
        """Nothing: the leader's part."""

    def delete(self) -> None:
        """Nothing: the leader's part."""


@contextmanager
def team(name: str, seed: int, processes: int, device: str) -> Iterator[Team | None]:
    """This process's team, the others started where nobody has; None where it trains alone.

    Args:
        name: the model's.
        seed: of the training.
        processes: what ``models.NAME.processes`` says.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ClarityError: `torchrun` started another number of them.
    """
    started = os.environ.get(SIZE)
    if started is not None and int(started) != processes:
        raise ClarityError(
            f"{started} processes were started, params.yaml: models.{name}.processes says "
            f"{processes}; they must be the same"
        )
    if processes == 1:
        yield None
        return
    others: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="clarity-team-") as folder:
        store = os.environ.get(STORE)
        try:
            if started is None:
                store = str(Path(folder) / "store")
                ranks = range(1, processes)
                others += [_start(name, seed, rank, processes, store) for rank in ranks]
            yield _join(processes, store, device)
        finally:
            with suppress(Exception):  # where another process is gone, there is nothing to leave
                torch.distributed.destroy_process_group()
            for other in others:
                _end(other)


def _start(name: str, seed: int, rank: int, processes: int, store: str) -> subprocess.Popen[bytes]:
    own = {RANK: rank, LOCAL: rank, SIZE: processes, STORE: store}
    return subprocess.Popen(
        [sys.executable, "-m", "clarity", "train", name, str(seed)],
        env=os.environ | {key: str(value) for key, value in own.items()},
    )


def _end(other: subprocess.Popen[bytes]) -> None:
    try:
        other.wait(GRACE)
    except subprocess.TimeoutExpired:
        other.kill()
        other.wait()


def _join(processes: int, store: str | None, device: str) -> Team:
    """Wait for the others and greet them; by a file here, or as `torchrun` says."""
    rank = int(os.environ.get(RANK, "0"))
    if rank:  # the leader hears of Ctrl-C and SIGTERM, and the others end with it
        for kind in (signal.SIGTERM, signal.SIGINT):
            signal.signal(kind, signal.SIG_IGN)
        when_gone(identity(psutil.Process(os.getppid())), lambda: os._exit(1))
    cards = torch.cuda.device_count() if device != "cpu" and torch.cuda.is_available() else 0
    if cards:
        torch.cuda.set_device(int(os.environ.get(LOCAL, "0")) % cards)
    how: dict[str, Any] = {"rank": rank, "world_size": processes}
    if store is not None:
        # All on one machine: nothing of it is to be reached from another.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
        meeting = FileStore(store, processes)
        meeting.set_timeout(GREETING)
        how["store"] = meeting
    local = int(os.environ.get("LOCAL_WORLD_SIZE", processes))
    torch.distributed.init_process_group(
        "nccl" if cards >= local else "gloo", timeout=SILENCE, **how
    )
    return Team(rank, processes)


def _in_order(values: Tensor) -> Tensor:
    """A view of a dense tensor's numbers in their order in memory, N."""
    return values.as_strided((values.numel(),), (1,))
