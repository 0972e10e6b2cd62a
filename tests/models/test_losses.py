"""What training can minimise: against the library, in a training, and in the report."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import piq
import pytest
import torch
from data_helpers import clarity_here, save_pictures
from project import make_project

from clarity.layout import Shape
from clarity.models.base import to_unit
from clarity.models.build import build
from clarity.models.loss import LOSSES, criterion
from clarity.params import Model
from clarity.train.augment import noisy


def pair(channels: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.rand(4, channels, 64, 64) * 2 - 1
    return (x + 0.3 * torch.randn_like(x)).clamp(-1, 1), x


@pytest.mark.parametrize("channels", [1, 3])
def test_losses_are_what_they_are_called(channels: int) -> None:
    made, x = pair(channels)
    units = to_unit(made), to_unit(x)
    mirrored = [torch.nn.functional.pad(one, (5,) * 4, mode="reflect") for one in units]
    expected = {
        "mse": 4 * (units[0] - units[1]).square().mean().item(),
        "l1": 2 * (units[0] - units[1]).abs().mean().item(),
        "ssim": 1 - piq.ssim(*mirrored).item(),
    }
    for name, value in expected.items():
        assert criterion(name)(made, x).item() == pytest.approx(value, abs=1e-6)
    # Of the library's, the rim is left out; there is little of it.
    found = criterion("ms-ssim")(made, x).item()
    assert found == pytest.approx(1 - piq.multi_scale_ssim(*units, kernel_size=3).item(), abs=5e-3)
    # Smooth at 0, as absolute errors far from it.
    assert criterion("charbonnier")(made, x).item() == pytest.approx(expected["l1"], abs=1e-3)
    mixed = criterion({"l1": 0.16, "ms-ssim": 0.84})(made, x).item()
    assert mixed == pytest.approx(0.16 * expected["l1"] + 0.84 * found, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_can_be_descended_from_the_worst_start(name: str) -> None:
    """Of an image's negative, where structure is the opposite; and it is 0 at its best."""
    _, x = pair()
    for start in (-x, torch.zeros_like(x)):
        made = start.clone().requires_grad_()
        LOSSES[name](made, x).backward()
        assert made.grad is not None
        assert made.grad.isfinite().all()
    assert LOSSES[name](x, x).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_a_pixel_of_the_rim_counts_as_much_as_any(name: str) -> None:
    """Or trainings leave a grey seam, as SSIM by whole windows alone did."""
    made, x = pair()
    made.requires_grad_()
    LOSSES[name](made, x).backward()
    assert made.grad is not None
    pull = made.grad.abs().mean((0, 1))
    rim = torch.cat([pull[0], pull[-1], pull[:, 0], pull[:, -1]]).mean()
    assert rim > 0.5 * pull[8:-8, 8:-8].mean()


def test_noise_is_on_the_input_alone() -> None:
    network = build(Model(family="conv", widths=(4,)), "c", Shape(32, 1))
    x = torch.zeros(8, 1, 32, 32)
    given = noisy(x, torch.Generator().manual_seed(0), 0.5)
    assert given is not None
    assert given.std().item() == pytest.approx(0.5, rel=0.05)
    assert noisy(x, torch.Generator(), 0) is None
    loss, _ = network.training_loss(x, 0, given=given)
    assert loss.item() == pytest.approx((network(given) - x).square().mean().item())


@pytest.mark.slow
def test_a_training_by_another_loss_keeps_both_curves_and_the_report_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tmp_path / "project").here()
    monkeypatch.chdir(project.path)
    save_pictures(project.path / "data/own", people=12, each=3)
    mixture = {"l1": 0.5, "ssim": 0.5}
    project.change(
        {
            "data": {"source": "folder"},
            "models": {
                "fcn-small": None,
                "conv-small": {"family": "conv", "widths": [4, 8]},
                "conv-large": {"family": "conv", "widths": [8, 8], "train": {"loss": mixture}},
            },
            "train": {"loss": "ssim", "noise": 0.1, "epochs": 2},
        }
    )
    for stage in ("ingest", "preprocess"):
        assert clarity_here(project.path, stage).code == 0
    for model in ("conv-small", "conv-large", "pca-3"):
        for stage in ("train", "evaluate"):
            result = clarity_here(project.path, stage, model, "0")
            assert result.code == 0, result.complained
    with Path("models/conv-small-0/curves.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    curves = [{key: float(value) for key, value in row.items()} for row in rows]
    assert list(curves[0])[3:] == ["train_mse", "val_mse", "train_loss", "val_loss"]
    assert all(math.isfinite(value) for row in curves for value in row.values())
    described = {
        model: json.loads(Path(f"models/{model}-0/model.json").read_text())
        for model in ("conv-small", "conv-large", "pca-3")
    }
    assert described["conv-small"]["loss"] == "ssim"
    assert described["conv-small"]["noise"] == 0.1
    assert described["conv-large"]["loss"] == mixture
    assert not {"loss", "noise"} & set(described["pca-3"])
    best = described["conv-small"]["budgets"]["alike"]
    least = min(row["val_loss"] for row in curves[1:])
    assert best["val_loss"] == pytest.approx(least)
    result = clarity_here(project.path, "compare")
    assert result.code == 0, result.complained
    content = json.loads(Path("reports/verdicts.json").read_text())
    verdicts = json.dumps(content, ensure_ascii=False)
    assert "conv with SSIM with noise of 0.1 on the input" in verdicts
    assert "0.5 × L1 + 0.5 × SSIM" in verdicts
    assert "trained with different losses" in verdicts


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"train": {"loss": "psnr"}}, "train.loss: 'psnr' is no loss; there are mse, l1"),
        ({"train": {"loss": {"mse": 0}}}, "the weight of mse is no number above 0"),
        ({"train": {"loss": []}}, "train.loss: needs one of mse"),
        (
            {"train": {"loss": "ms-ssim"}, "preprocess": {"size": 32}},
            "train.loss: ms-ssim needs 33 pixels",
        ),
        (
            {
                "models": {
                    "vae": {"family": "vae", "widths": [4], "latent": 2, "train": {"loss": "l1"}}
                }
            },
            "models.vae.train.loss: L1, but vae is a VAE",
        ),
    ],
)
def test_a_loss_that_cannot_be_is_one_line(changes: dict, line: str, tmp_path: Path) -> None:
    project = make_project(tmp_path / "project").here()
    project.change(changes)
    result = clarity_here(project.path, "check")
    assert result.code == 2
    assert line in result.complained
    assert result.complained.count("\n") == 1
