"""What a model costs: counted where it can be, measured where it must be."""

from __future__ import annotations

import statistics
import sys
import time

import torch

from clarity.models.base import Autoencoder
from clarity.models.flops import flops

__all__ = ["flops", "measured"]


@torch.inference_mode()
def measured(model: Autoencoder, batch_size: int, seconds: float = 0.3) -> dict[str, float]:
    """Throughput and latency by the clock, and the largest memory so far: never in an output.

    Each of the two measurements repeats for ``seconds``, after a warm-up.

    Returns:
        ``throughput_images_per_second``, ``latency_ms_median``, ``latency_ms_p95`` (of one image),
        ``peak_memory_mb`` (resident, of the whole process).
    """
    device = next(iter(model.state_dict().values())).device
    planes = model.shape.planes
    single, batch = (torch.zeros(n, *planes, device=device) for n in (1, batch_size))
    alone = _repeated(model, single, seconds)
    together = _repeated(model, batch, seconds)
    figures = {
        "throughput_images_per_second": batch_size / statistics.median(together),
        "latency_ms_median": 1000 * statistics.median(alone),
        "latency_ms_p95": 1000 * sorted(alone)[int(0.95 * (len(alone) - 1))],
    }
    peak = _peak_memory()
    return figures | ({} if peak is None else {"peak_memory_mb": peak})


def _repeated(model: Autoencoder, images: torch.Tensor, seconds: float) -> list[float]:
    def once() -> float:
        start = time.perf_counter()
        model(images)
        if images.is_cuda:
            torch.cuda.synchronize(images.device)
        return time.perf_counter() - start

    for _ in range(2):
        once()
    times = [once() for _ in range(3)]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        times.append(once())
    return times


def _peak_memory() -> float | None:
    """Largest resident set of this process in MB; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (1e6 if sys.platform == "darwin" else 1e3)
