"""The parts of training: schedule, augmentation, PCA's fit, the listener's guard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_helpers import SHAPE
from sklearn.decomposition import PCA

from clarity.errors import ClarityError
from clarity.models.base import to_input
from clarity.models.build import build
from clarity.models.flops import gflop_per_image, gflop_per_step
from clarity.models.lean import flop_counter, set_rate
from clarity.models.optimizer import Muon, operations, optimizers, orthogonal
from clarity.params import Model, Train
from clarity.train import components
from clarity.train.augment import augment, relight
from clarity.train.budget import budgets
from clarity.train.data import Images, open_images
from clarity.train.listener import BestEffort, NullListener
from clarity.train.loop import follow, generator
from clarity.train.schedule import grid_epochs, learning_rate
from clarity.train.step import clip

CPU = torch.device("cpu")


def pictures(count: int) -> np.ndarray:
    """Smooth random pictures that have a few strong directions of variance."""
    random = np.random.default_rng(0)
    waves = np.sin(np.arange(64) / random.uniform(3, 20, (6, 1)))
    basis = np.einsum("kh,kw->khw", waves, waves[::-1])
    weights = random.normal(size=(count, 6)) * [60, 40, 25, 12, 6, 3]
    grey = 128 + np.einsum("nk,khw->nhw", weights, basis)
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=3)


def test_the_rate_rises_to_its_peak_and_stays_wherever_the_training_is_cut() -> None:
    rates = [learning_rate(step, 100, 0.5, 0.1) for step in range(300)]
    assert rates[0] == pytest.approx(0.05)
    assert rates[:10] == sorted(rates[:10])
    assert set(rates[9:]) == {0.5}
    assert learning_rate(0, 1, 0.5, 0.0) == 0.5
    assert learning_rate(0, 1, 0.5, 1.0) == 0.5


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2])
def test_the_average_remembers_a_share_of_the_training_however_long(share: float) -> None:
    """Its mean age grows with the training; the first step's weights are taken over whole."""
    network, averaged = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    for step in range(1, 1001):
        torch.nn.init.constant_(network.weight, step)
        follow(averaged, network, step, share)
        age = step - averaged.weight.item()
        if step in (1, 200, 1000):
            assert age == pytest.approx(share * step, abs=1.0)
    assert share == 0 or age > 0


def recipe(**changes: Any) -> Train:
    values: dict[str, Any] = {
        "epochs": 10, "compute": None, "batch_size": 8, "learning_rate": 0.1, "weight_decay": 0.0,
        "warmup": 0.1, "average": 0.1, "clip": 1.0, "patience": 5, "flip": True, "shift": 1,
        "jitter": 0.0, "precision": "fp32", "grids": 3, "beta": 1.0, "kl_warmup": 0.2,
        "loss": "mse", "noise": 0, "optimizer": "adamw",
    }  # fmt: skip
    return Train.model_validate(values | changes)


def test_sizes_trained_alike_see_as_much_and_sizes_of_one_budget_spend_as_much() -> None:
    small = budgets(recipe(compute=20.0), batches=6, gflop=1.0)
    large = budgets(recipe(compute=20.0), batches=6, gflop=8.0)
    assert small["alike"].steps == large["alike"].steps == 60
    assert (small["compute"].epochs, large["compute"].epochs) == (20, 2.5)
    assert small["compute"].gflop_per_image == large["compute"].gflop_per_image == 20
    assert set(budgets(recipe(), 6, 1.0)) == {"alike"}
    assert budgets(recipe(compute=1e-6), 6, 1.0)["compute"].steps == 1


@pytest.mark.parametrize(("epochs", "grids"), [(60, 8), (1, 8), (3, 3), (60, 1), (60, 2), (500, 9)])
def test_pictures_are_kept_from_the_untrained_network_to_the_last_epoch(
    epochs: int, grids: int
) -> None:
    kept = grid_epochs(epochs, grids)
    assert kept[0] == 0
    assert kept == sorted(set(kept))
    assert len(kept) <= grids
    assert grids < 3 or kept[-1] == epochs


def test_augmentation_moves_pixels_and_makes_none_up() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (50, 8, 9, 3), np.uint8))
    seen = set()
    for image, changed in zip(
        images, augment(images, generator(0), flip=True, shift=2), strict=True
    ):
        for flip in (False, True):
            source = image.flip(1) if flip else image
            padded = torch.nn.functional.pad(
                source.permute(2, 0, 1)[None].float(), (2, 2, 2, 2), mode="replicate"
            )[0].permute(1, 2, 0)
            for down in range(5):
                for right in range(5):
                    if torch.equal(padded[down : down + 8, right : right + 9], changed.float()):
                        seen.add((flip, down, right))
                        break
    assert len({flip for flip, _, _ in seen}) == 2
    assert len({down for _, down, _ in seen}) == len({right for _, _, right in seen}) == 5
    same = augment(images, generator(0), flip=False, shift=0)
    assert torch.equal(same, images)
    first, again, other = (augment(images, generator(k), flip=True, shift=2) for k in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_relighting_changes_contrast_and_brightness_of_a_whole_image() -> None:
    dark, light = torch.full((500, 3, 2, 2), -0.5), torch.full((500, 3, 2, 2), 0.5)
    lit = relight(torch.cat([dark, light], dim=3), generator(0), 0.2)
    low, high = lit[:, 0, 0, 0], lit[:, 0, 0, -1]
    contrast, brightness = high - low, (high + low) / 2
    assert 0.8 <= contrast.min() < 0.82
    assert 1.18 < contrast.max() <= 1.2
    assert -0.2 <= brightness.min() < -0.19
    assert 0.19 < brightness.max() <= 0.2
    assert relight(torch.ones(50, 3, 2, 2), generator(0), 0.2).max() <= 1
    assert relight(dark, generator(0), 0.0) is dark


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_single_numbers_do_not_decay_and_adamw_steps_wide_layers_more_slowly(
    optimizer: str,
) -> None:
    network = build(Model(family="vae", widths=(4, 256), latent=6), "tiny", SHAPE)
    found = optimizers(network, recipe(optimizer=optimizer, weight_decay=0.1))
    members: list[torch.Tensor] = []
    for each in found:
        muon = isinstance(each, Muon)
        for group in each.param_groups:
            for parameter in group["params"]:
                assert group["weight_decay"] == (0.1 if parameter.ndim > 1 else 0.0)
                assert muon == (optimizer == "muon" and parameter.ndim > 1)
                wide = not muon and parameter.ndim == 2 and parameter.shape[1] > 1024
                assert (group["scale"] < 1) == wide
                members.append(parameter)
    assert {id(member) for member in members} == {id(one) for one in network.parameters()}
    assert len(members) == len(list(network.parameters()))


@pytest.mark.parametrize("shape", [(3, 40), (40, 3), (20, 20)])
def test_an_orthogonalised_matrix_keeps_its_directions_and_levels_their_lengths(
    shape: tuple[int, int],
) -> None:
    matrix = torch.randn(shape, generator=generator(0))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inner = left.T @ orthogonal(matrix) @ right.T
    lengths = inner.diagonal()
    assert 0.5 < lengths.min() <= lengths.max() < 1.3
    torch.testing.assert_close(inner, lengths.diag(), atol=1e-4, rtol=0)
    assert orthogonal(torch.zeros(shape)).abs().max() == 0


def test_muon_steps_as_torchs_own_does() -> None:
    """On matrices, all that torch's takes; up to bfloat16's digits, which torch's computes in."""
    start, ends = torch.randn(8, 24, generator=generator(1)), []
    for ours in (True, False):
        weight = torch.nn.Parameter(start.clone())
        optimizer: torch.optim.Optimizer = Muon([{"params": [weight], "weight_decay": 0.1}])
        if not ours:
            optimizer = torch.optim.Muon([weight], weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
        for number in range(5):
            weight.grad = torch.randn(8, 24, generator=generator(2, number))
            set_rate(optimizer.param_groups[0], 0.01)
            optimizer.step()
        ends.append(weight.detach() - start)
    torch.testing.assert_close(*ends, atol=0.05 * float(ends[1].abs().max()), rtol=0)


@pytest.mark.parametrize("shape", [(3, 40), (40, 3), (20, 20), (6, 5, 4, 4)])
def test_the_operations_of_an_orthogonal_factor_are_what_torch_counts(
    shape: tuple[int, ...],
) -> None:
    weight = torch.ones(shape)
    with flop_counter() as counter:
        orthogonal(weight.flatten(1))
    assert operations(weight) == counter.get_total_flops()


def test_what_muon_computes_counts_as_compute() -> None:
    network = build(Model(family="conv", widths=(4, 8)), "tiny", SHAPE)
    plain = gflop_per_image(network, recipe())
    alone = gflop_per_step(network, recipe(optimizer="muon"))
    assert gflop_per_step(network, recipe()) == 0 < alone
    for batch in (1, 8):
        found = gflop_per_image(network, recipe(optimizer="muon", batch_size=batch))
        assert found == pytest.approx(plain + alone / batch)


@pytest.mark.parametrize("count", [40, 140])
def test_pca_reconstructs_as_well_as_an_independent_fit(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full decomposition of the 40, the first components alone of the 140."""
    monkeypatch.setattr(components, "FULL", 100)
    stored = pictures(count)
    network = build(Model(family="pca", latent=3), "pca-3", SHAPE)
    mean, axes = components.fit_components(Images(stored, CPU), 3, "pca-3")
    network.load_state_dict({"mean": mean, "components": axes})
    flat = to_input(stored).flatten(1).double().numpy()
    other = PCA(3, svd_solver="full").fit(flat)
    expected = other.inverse_transform(other.transform(flat))
    found = network(to_input(stored)).flatten(1).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_pca_beyond_memory_is_close_to_the_exact_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    images = Images(pictures(300), CPU)
    _, exact = components.fit_components(images, 3, "pca-3")
    monkeypatch.setattr(components, "EXACT", 100)
    monkeypatch.setattr(components, "BATCH", 130)
    _, incremental = components.fit_components(images, 3, "pca-3")
    cosines = torch.linalg.svdvals(exact @ incremental.T)
    assert cosines.min() > 0.99


def test_more_components_than_images_are_refused() -> None:
    with pytest.raises(ClarityError, match=r"models\.pca-9\.latent: 9 components of 4"):
        components.fit_components(Images(pictures(4), CPU), 9, "pca-9")


def test_the_moments_are_those_of_all_images() -> None:
    stored = pictures(300)
    mean, variance = Images(stored, CPU).moments()
    flat = stored.astype(np.float64) / 127.5 - 1
    np.testing.assert_allclose(mean.numpy(), flat.mean(0).transpose(2, 0, 1), atol=1e-6)
    assert variance == pytest.approx(flat.var(axis=0).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (None, "no such file"),
        (np.zeros((3, 64, 64, 3), np.float32), "float32"),
        (np.zeros((3, 32, 32, 3), np.uint8), r"\(3, 32, 32, 3\)"),
        (np.zeros((0, 64, 64, 3), np.uint8), "no images"),
        (np.zeros((), np.uint8), "not uint8 N"),
        (b"\x93NUMPY\x01\x00trunc", "broken"),
        (b"", "broken"),
    ],
)
def test_arrays_that_are_no_images_are_one_line(array: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "train.npy"
    if isinstance(array, bytes):
        path.write_bytes(array)
    elif array is not None:
        np.save(path, array)
    with pytest.raises(ClarityError, match=message) as raised:
        open_images(path, SHAPE, CPU)
    assert "\n" not in str(raised.value)
    assert "train.npy" in str(raised.value)


def test_a_listener_that_raises_is_warned_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(NullListener):
        def epoch(self, row: Any, images_per_second: float) -> None:
            raise ConnectionError("the server went away\nand more")

    guarded = BestEffort(Broken())
    guarded.started({})
    for _ in range(3):
        guarded.epoch({}, 1.0)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "ConnectionError: the server went away" in lines[0]


@pytest.mark.parametrize("longest", [0.01, 5.0, 1e9])
def test_gradients_are_clipped_to_the_bits_that_torch_gives(longest: float) -> None:
    def parameters() -> list[torch.nn.Parameter]:
        made = [torch.nn.Parameter(torch.zeros(size)) for size in ((3, 40), (7,), (2,))]
        for number, one in enumerate(made[:2]):  # the last took no part
            one.grad = torch.randn(one.shape, generator=torch.Generator().manual_seed(number))
        return made

    ours, theirs = parameters(), parameters()
    norm = clip(ours, longest)
    assert torch.equal(norm, torch.nn.utils.clip_grad_norm_(theirs, longest))
    for one, other in zip(ours[:2], theirs[:2], strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad)
