"""The networks: the report's sizes to the parameter, its two defects, and what `load` rebuilds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from data_helpers import SHAPE
from ruamel.yaml import YAML
from safetensors.torch import save_file
from torch import Tensor, nn

from clarity.errors import ClarityError
from clarity.layout import Shape
from clarity.models.ae import PlainAutoencoder
from clarity.models.base import to_images, to_input, to_unit
from clarity.models.build import BUILDERS, build, count_parameters, describe, load
from clarity.models.conv import Convolutional
from clarity.models.fcn import FullyConnected
from clarity.models.vae import Variational
from clarity.params import FAMILIES, Model, load_params

ROOT = Path(__file__).parent.parent.parent
PARAMETERS = {
    "fcn-large": 55_893_043,
    "fcn-medium": 25_464_099,
    "fcn-small": 12_749_091,
    "conv-large": 5_512_579,
    "conv-medium": 1_380_035,
    "conv-small": 345_955,
    "pca-3": 3 * 12_288 + 12_288,
    "pca-64": 64 * 12_288 + 12_288,
}
LATENT = {"conv-small": 2048, "conv-medium": 4096, "conv-large": 8192, "pca-64": 64}
TINY = {
    "fcn": Model(family="fcn", widths=(16, 8), latent=3, decoder_widths=(5,)),
    "conv": Model(family="conv", widths=(4, 8)),
    "ae": Model(family="ae", widths=(4, 8), latent=6),
    "vae": Model(family="vae", widths=(4, 8), latent=6),
    "pca": Model(family="pca", latent=6),
}


def test_every_family_has_a_builder_and_is_tried_here() -> None:
    assert list(BUILDERS) == list(FAMILIES)
    assert set(TINY) == set(FAMILIES)
    assert len({family.colour for family in FAMILIES.values()}) == len(FAMILIES)
    assert {family.twin for family in FAMILIES.values() if family.twin} <= set(FAMILIES)


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def full() -> dict[str, Model]:
    """The committed models with those of presets/full.yaml."""
    preset = YAML(typ="safe").load((ROOT / "presets/full.yaml").read_text())
    added = {name: Model.model_validate(spec) for name, spec in preset["models"].items()}
    return load_params(ROOT / "tests/params.yaml").models | added


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_committed_sizes_have_exactly_the_reports_parameters(
    name: str, full: dict[str, Model]
) -> None:
    with torch.device("meta"):
        network = build(full[name], name, SHAPE)
    assert count_parameters(network) == PARAMETERS[name]
    assert network.latent_size == LATENT.get(name, 3)


def test_the_first_fcn_is_the_printed_list_of_layers(full: dict[str, Model]) -> None:
    with torch.device("meta"):
        network = build(full["fcn-large"], "fcn-large", SHAPE)
    assert isinstance(network, FullyConnected)
    sizes = [layer.out_features for layer in network.modules() if isinstance(layer, nn.Linear)]
    assert sizes == [2048, 1024, 512, 256, 128, 3, 12, 256, 512, 1024, 2048, 12288]
    kinds = [type(layer) for layer in network.encoder]
    assert kinds == [nn.Linear, nn.ReLU] * 5 + [nn.Linear]
    assert [type(layer) for layer in network.decoder] == [nn.Linear, nn.ReLU] * 5 + [
        nn.Linear,
        nn.Tanh,
    ]


@pytest.mark.parametrize("width", [1024, 512])
def test_the_printed_small_fcns_do_not_run_and_ours_put_the_missing_layer_back(
    width: int, full: dict[str, Model]
) -> None:
    encoder = nn.Sequential(
        *[nn.Linear(12288, width), nn.ReLU(), nn.Linear(width, 128), nn.ReLU()],
        *[nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 32), nn.Linear(12, 3)],
    )
    decoder = nn.Sequential(nn.Linear(3, 12), nn.ReLU(), nn.Linear(32, 64), nn.ReLU())
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        encoder(torch.zeros(1, 12288))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        decoder(torch.zeros(1, 3))

    name = "fcn-medium" if width == 1024 else "fcn-small"
    with torch.device("meta"):
        network = build(full[name], name, SHAPE)
    ours = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    mended = [12288, width, 128, 64, 32, 12, 3, 12, 32, 64, 128, width, 12288]
    assert [ours[0].in_features, *(layer.out_features for layer in ours)] == mended


def test_the_printed_convolutional_decoder_gives_16_pixels_and_ours_64(
    full: dict[str, Model],
) -> None:
    network = build(full["conv-large"], "conv-large", SHAPE)
    assert isinstance(network, Convolutional)
    features = network.encoder(torch.zeros(1, 3, 64, 64))
    first, *others = network.decoder
    printed = nn.Sequential(nn.Conv2d(512, 256, 4, stride=2, padding=1), *others)
    assert printed(features).shape == (1, 3, 16, 16)
    assert isinstance(first, nn.ConvTranspose2d)
    assert network.decoder(features).shape == (1, 3, 64, 64)


@pytest.mark.parametrize("size", ["small", "medium", "large"])
def test_a_vae_differs_from_its_plain_twin_by_its_log_variances_alone(
    size: str, full: dict[str, Model]
) -> None:
    with torch.device("meta"):
        plain, vae = (build(full[f"{family}-{size}"], size, SHAPE) for family in ("ae", "vae"))
    assert isinstance(plain, PlainAutoencoder)
    assert isinstance(vae, Variational)
    assert plain.latent_size == vae.latent_size == 64
    features = full[f"ae-{size}"].widths[-1] * 16
    second_head, sigma = 64 * (features + 1), 1
    assert count_parameters(vae) == count_parameters(plain) + second_head + sigma
    assert repr(plain.decoder) == repr(vae.decoder)
    assert repr(plain.encoder[:-1]) == repr(vae.encoder[:-1])  # type: ignore[index]


@pytest.mark.parametrize("family", TINY)
def test_a_saved_model_is_rebuilt_to_the_bit(family: str, tmp_path: Path) -> None:
    network = build(TINY[family], "tiny", SHAPE).eval()
    with torch.no_grad():
        for value in network.state_dict().values():
            value.add_(torch.randn(value.shape) * 0.01)
    (tmp_path / "model.json").write_text(json.dumps(describe(TINY[family], "tiny", 7, network)))
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(weights, tmp_path / "weights.safetensors")

    again = load(tmp_path)
    x = to_input(images())
    assert not again.training
    assert again.latent_size == network.latent_size
    assert again.encode(x).shape == (3, network.latent_size)
    assert torch.equal(again(x), network(x))
    assert again(x).shape == x.shape


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("weights.safetensors", None, "no such file"),
        ("weights.safetensors", b"half a fi", "broken"),
        ("model.json", b"{", "broken"),
        ("model.json", b'{"format": 99, "name": "tiny"}', "format 99"),
        ("model.json", b"[]", "broken"),
        ("model.json", b'{"format": 1, "image_size": 64, "name": "tiny"}', "family"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_one_line(
    file: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    network = build(TINY["fcn"], "tiny", SHAPE)
    (tmp_path / "model.json").write_text(json.dumps(describe(TINY["fcn"], "tiny", 0, network)))
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(ClarityError, match=message) as raised:
        load(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("family", TINY)
@pytest.mark.parametrize("shape", [Shape(32, 1), Shape(96, 3), Shape(128, 1)], ids=str)
def test_every_family_takes_every_size_and_comes_back_with_it(
    family: str, shape: Shape, tmp_path: Path
) -> None:
    network = build(TINY[family], "tiny", shape).eval()
    x = torch.rand(2, *shape.planes) * 2 - 1
    assert network(x).shape == x.shape
    (tmp_path / "model.json").write_text(json.dumps(describe(TINY[family], "tiny", 0, network)))
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, tmp_path / "weights.safetensors")
    again = load(tmp_path)
    assert again.shape == shape
    assert torch.equal(again(x), network(x))


def test_grey_costs_a_third_of_the_layers_at_the_image() -> None:
    """And a side that halves into an odd one is halved no further."""
    spec = Model(family="fcn", widths=(16,), latent=3)
    grey, colour = (build(spec, "fcn", Shape(64, channels)) for channels in (1, 3))
    ends = 16 * 64 * 64 + 64 * 64 * (16 + 1)  # weights in, weights and biases out
    assert count_parameters(colour) - count_parameters(grey) == 2 * ends
    with pytest.raises(ClarityError, match=r"models\.c\.widths: 6 .* at most 5"):
        build(Model(family="conv", widths=(2,) * 6), "c", Shape(96, 3))


def test_weights_of_another_size_are_refused_in_one_line(tmp_path: Path) -> None:
    description = describe(TINY["ae"], "tiny", 0, build(TINY["ae"], "tiny", SHAPE))
    (tmp_path / "model.json").write_text(json.dumps(description))
    save_file({"other": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(ClarityError, match="do not fit") as raised:
        load(tmp_path)
    assert "\n" not in str(raised.value)


def test_images_survive_the_way_in_and_out() -> None:
    stored = images()
    stored[0, 0, 0] = (0, 255, 128)
    x = to_input(stored)
    assert x.shape == (3, 3, 64, 64)
    assert x.dtype == torch.float32
    assert (x.min().item(), x.max().item()) == (-1, 1)
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(to_images(x), stored)
    assert torch.equal(to_unit(torch.tensor([-3.0, 0.0, 3.0])), torch.tensor([0.0, 0.5, 1.0]))
    assert to_input(stored[:0]).shape == (0, 3, 64, 64)
    with pytest.raises(ValueError, match="uint8"):
        to_input(stored.astype(np.float32))


@pytest.mark.parametrize("family", TINY)
def test_an_untrained_network_starts_near_the_mean_face(family: str) -> None:
    mean = torch.full((3, 64, 64), -0.4)
    network = build(TINY[family], "tiny", SHAPE)
    network.start_from(mean, 0.1)
    x = to_input(images(8))
    start: Tensor = network(x * 0)
    assert (start.mean() - mean.mean()).abs() < 0.2
    if isinstance(network, Variational):
        assert network.log_variance.exp().item() == pytest.approx(0.1, rel=1e-4)
