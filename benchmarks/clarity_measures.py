"""Which measure sees what people see: published opinion, ladders of distortions, our own looks.

    python benchmarks/clarity_measures.py [--set PATH.npy] [--faces 40] [--csv FILE]

The rule: of the measures that move one way along at least 99 % of the ladders and agree with at
least 92 % of our looks, 80 % of those within a family, the one that wrong detail fools least. The
last was first written as "never fooled", which no measure is (docs/metrics/clarity.md).

Faces: the embedded ones (grey), and with ``--set`` those of an array N×64×64×3 (colour).
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from clarity.evaluate.perceptual import perceptual
from clarity.evaluate.reconstruction import image_metrics
from clarity.ingest.faces import open_source
from clarity.measures import MEASURES
from clarity.statistics.shares import share_interval

STEPS = 6
LOOKS = Path(__file__).parent / "looks" / "faces.csv"
#: Spearman's rank correlation with opinion scores on TID2013 and KADID-10k (piq's README, Lin et
#: al. 2019), CSIQ and LIVE (Xue et al. 2014, Reisenhofer et al. 2018, Nafchi et al. 2016).
PUBLISHED: dict[str, tuple[float | None, ...]] = {
    "haarpsi": (0.873, 0.885, 0.960, 0.968),
    "mdsi": (0.890, 0.885, 0.957, 0.967),
    "fsim": (0.851, 0.854, 0.924, 0.963),
    "gmsd": (0.804, 0.847, 0.957, 0.960),
    "dss": (0.792, 0.860, None, None),
    "ms_ssim": (0.786, 0.802, 0.913, 0.951),
    "vif": (0.677, 0.679, 0.919, 0.964),
    "ssim": (0.554, 0.633, 0.876, 0.948),
    "psnr": (0.687, 0.676, 0.806, 0.876),
    "mse": (0.687, 0.676, 0.806, 0.876),
}


def blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, edges repeated."""
    if sigma == 0:
        return x
    reach = max(1, int(4 * sigma))
    line = torch.exp(-(torch.arange(-reach, reach + 1).float() ** 2) / (2 * sigma**2))
    line = (line / line.sum()).repeat(3, 1)
    padded = functional.pad(x, [reach] * 4, mode="replicate")
    wide = functional.conv2d(padded, line[:, None, None, :], groups=3)
    return functional.conv2d(wide, line[:, None, :, None], groups=3)


def smaller(x: Tensor, side: int) -> Tensor:
    """Down to ``side`` pixels and up again."""
    down = functional.interpolate(x, (side, side), mode="area")
    return functional.interpolate(down, x.shape[-2:], mode="bilinear", align_corners=False)


def jpeg(x: Tensor, quality: int) -> Tensor:
    """Saved and read again."""
    out = []
    for image in (x * 255).round().byte().permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        out.append(np.asarray(Image.open(file).convert("RGB")))
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2).float() / 255


def scrambled(x: Tensor, share: float, seed: int = 0) -> Tensor:
    """Fine detail with its phase mixed with that of noise by ``share``, its power kept."""
    soft = blur(x, 1.5)
    detail = torch.fft.fft2(x - soft)
    noise = torch.fft.fft2(
        torch.randn(x.shape[-2:], generator=torch.Generator().manual_seed(seed))
    ).angle()
    turned = detail.abs() * torch.exp(1j * (detail.angle() + share * noise))
    return soft + torch.fft.ifft2(turned).real


def checkerboard(x: Tensor, strength: float) -> Tensor:
    size = x.shape[-1]
    board = (torch.arange(size)[:, None] + torch.arange(size)[None, :]) % 2 * 2.0 - 1
    return x + strength * board


Ladder = Callable[[Tensor, int], Tensor]
#: Each takes faces and a strength of 1 … `STEPS`.
LADDERS: dict[str, Ladder] = {
    "blur": lambda x, s: blur(x, 0.4 * s),
    "low resolution": lambda x, s: smaller(x, (48, 40, 32, 24, 16, 10)[s - 1]),
    "noise": lambda x, s: x + 0.02 * s * torch.randn(
        x.shape, generator=torch.Generator().manual_seed(1)
    ),
    "JPEG": lambda x, s: jpeg(x, (85, 60, 40, 25, 14, 6)[s - 1]),
    "less contrast": lambda x, s: x.mean((1, 2, 3), keepdim=True) + (1 - 0.13 * s) * (
        x - x.mean((1, 2, 3), keepdim=True)
    ),
    "blend with the mean face": lambda x, s: (1 - 0.14 * s) * x + 0.14 * s * x.mean(0),
    "ghost of another face": lambda x, s: (1 - 0.08 * s) * x + 0.08 * s * x.roll(1, 0),
    "scrambled fine detail": lambda x, s: scrambled(x, s / STEPS),
    "another's fine detail": lambda x, s: x + s / STEPS * (
        (x.roll(1, 0) - blur(x.roll(1, 0), 1.5)) - (x - blur(x, 1.5))
    ),
    "checkerboard": lambda x, s: checkerboard(x, 0.015 * s),
    "shift": lambda x, s: smooth_shift(x, 0.5 * s),
}  # fmt: skip
#: A blurred face, and the same with fine detail that is wrong.
WRONG: dict[str, Ladder] = {
    "another's detail": lambda x, s: blur(x, 2) + s / STEPS * (
        x.roll(1, 0) - blur(x.roll(1, 0), 2)
    ),
    "scrambled detail": lambda x, s: blur(x, 2) + s / STEPS * (
        scrambled(x, 1.0) - blur(scrambled(x, 1.0), 2)
    ),
    "noise": lambda x, s: blur(x, 2) + 0.02 * s * torch.randn(
        x.shape, generator=torch.Generator().manual_seed(2)
    ),
    "checkerboard": lambda x, s: checkerboard(blur(x, 2), 0.02 * s),
}  # fmt: skip


def smooth_shift(x: Tensor, pixels: float) -> Tensor:
    """Moved to the right, bilinearly, the edge repeated."""
    whole, part = int(pixels), pixels - int(pixels)
    padded = functional.pad(x, [whole + 1, 0, 0, 0], mode="replicate")
    width = x.shape[-1]
    return (1 - part) * padded[..., 1 : width + 1] + part * padded[..., :width]


def measured(x: Tensor, original: Tensor) -> dict[str, np.ndarray]:
    """Every measure as a distance: N values, larger is worse."""
    x = x.clamp(0, 1)
    found = image_metrics(x, original) | perceptual(x, original, every=True)
    found |= perceptual(x, original, every=False)
    values = {}
    for key, measure in MEASURES.items():
        if key == "psnr":
            continue
        numbers = found[key].numpy()
        perfect = measure.perfect or 0.0
        values[key] = numbers if measure.lower_is_better else perfect - numbers
    return values


def embedded(count: int) -> Tensor:
    """The first photograph of each of ``count`` people, N×3×64×64 on [0, 1]."""
    items = [item for item in open_source().items if item.id.endswith("/1.pgm")][:count]
    pictures = [Image.open(io.BytesIO(item.data)).crop((0, 10, 92, 102)) for item in items]
    grey = np.stack([np.asarray(picture.resize((64, 64))) for picture in pictures])
    return torch.from_numpy(grey).float()[:, None].repeat(1, 3, 1, 1) / 255


def ladders(faces: Tensor) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """By measure: ladders climbed one way, and all; wrong detail called clearer, and all."""
    climbed: dict[str, list[int]] = {}
    fooled: dict[str, list[int]] = {}
    for make in LADDERS.values():
        steps = [measured(make(faces, s), faces) for s in range(1, STEPS + 1)]
        for key in steps[0]:
            path = np.stack([step[key] for step in steps])
            rising = (np.diff(path, axis=0) > -1e-9).all(0)
            tally = climbed.setdefault(key, [0, 0])
            tally[0] += int(rising.sum())
            tally[1] += rising.size
    plain = measured(blur(faces, 2), faces)
    for make in WRONG.values():
        for s in range(1, STEPS + 1):
            worse = measured(make(faces, s), faces)
            for key, values in worse.items():
                tally = fooled.setdefault(key, [0, 0])
                tally[0] += int((values < plain[key] - 1e-9).sum())
                tally[1] += values.size
    return climbed, fooled


def agreement(looks: pd.DataFrame) -> dict[str, tuple[float, float, float, float]]:
    """By measure: share of decided pairs, its limits, and the share within a family."""
    decided = looks[(looks["choice"] != "cannot tell") & (looks["repeats"] == 0)]
    within = (decided["sort"] == "within").to_numpy()
    found = {}
    for key, measure in MEASURES.items():
        if key == "psnr":
            continue
        left, right = decided[f"{key}_left"], decided[f"{key}_right"]
        prefers_left = (left < right) == measure.lower_is_better
        right_choice = (prefers_left == (decided["choice"] == "left")).to_numpy()
        interval = share_interval(
            right_choice, decided["person"].to_numpy(), decided["looker"].to_numpy()
        )
        found[key] = (
            float(right_choice.mean()), interval.low, interval.high,
            float(right_choice[within].mean()),
        )  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--set", type=Path, help="colour faces, uint8 N×64×64×3, beside the grey")
    parser.add_argument("--faces", type=int, default=40)
    parser.add_argument("--csv", type=Path, help="where to leave the table")
    arguments = parser.parse_args()
    sets = [embedded(arguments.faces)]
    if arguments.set:
        array = np.load(arguments.set, mmap_mode="r", allow_pickle=False)
        places = np.linspace(0, len(array) - 1, arguments.faces).astype(int)
        sets.append(torch.from_numpy(array[places]).permute(0, 3, 1, 2).float() / 255)
    counted = [ladders(faces) for faces in sets]
    looked = agreement(pd.read_csv(LOOKS))
    rows = []
    for key in looked:
        up = [sum(one[0][key][i] for one in counted) for i in (0, 1)]
        taken = [sum(one[1][key][i] for one in counted) for i in (0, 1)]
        share, low, high, within = looked[key]
        rows.append(
            {
                "measure": key,
                **dict(zip(("TID2013", "KADID-10k", "CSIQ", "LIVE"),
                           PUBLISHED.get(key, (None,) * 4), strict=True)),
                "ladders": up[0] / up[1],
                "fooled": taken[0] / taken[1],
                "agrees": share, "low": low, "high": high, "within": within,
            }
        )  # fmt: skip
    frame = pd.DataFrame(rows).sort_values("agrees", ascending=False, kind="stable")
    if arguments.csv:
        frame.to_csv(arguments.csv, index=False, float_format="%.4f")
    table = Table(title=f"{up[1]} ladders, {taken[1]} wrong details")
    for name in frame:
        table.add_column(str(name), justify="left" if name == "measure" else "right")
    for _, row in frame.iterrows():
        cells = [
            MEASURES[row["measure"]].label,
            *("" if pd.isna(row[n]) else f"{row[n]:.3f}" for n in frame.columns[1:5]),
            *(f"{row[n]:.1%}" for n in frame.columns[5:]),
        ]
        table.add_row(*cells)
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
