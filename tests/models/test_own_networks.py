"""Networks of one's own: what they must do, what depends on their code, and whose code is run."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from data_helpers import clarity_here, save_pictures
from project import make_project

from clarity.errors import ClarityError
from clarity.layout import KNOWN_NETWORKS, Shape
from clarity.models.build import load
from clarity.models.own import check, own
from clarity.networks import ALLOWED, Code, read_code
from clarity.params import Model

SHAPE = Shape(32, 1)
CODE = '''
from torch import nn


class Tiny(nn.Module):
    """With a code of its own; dropout and a running mean while it is trained."""

    def __init__(self, width, channels):
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(channels, width, 4, 4), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.1)
        )
        self.up = nn.ConvTranspose2d(width, channels, 4, 4)

    def encode(self, x):
        return self.down(x)

    def decode(self, z):
        return self.up(z).tanh()


class Straight(nn.Module):
    """Only reconstructs."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        return self.layer(x)
'''
MODELS = {
    "conv-small": {"family": "conv", "widths": [4, 8]},
    "tiny-small": {"family": "mine.py:Tiny", "arguments": {"width": 2}},
    "tiny-large": {"family": "mine.py:Tiny", "arguments": {"width": 6}},
    "straight": {"family": "mine.py:Straight"},
}


@pytest.mark.slow
def test_a_family_of_ones_own_goes_all_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tmp_path / "project").here()
    monkeypatch.chdir(project.path)
    save_pictures(project.path / "data/own", people=12, each=3)
    Path("networks/mine.py").write_text(CODE)
    project.change(
        {
            "data": {"source": "folder"},
            "preprocess": {"size": SHAPE.size, "channels": SHAPE.channels},
            "models": {"fcn-small": None, **MODELS},
            "train": {"shift": 2, "batch_size": 8, "epochs": 2},
        }
    )

    def run(*arguments: str) -> str:
        result = clarity_here(project.path, *arguments)
        assert result.code == 0, result.complained
        return result.said

    for stage in ("ingest", "preprocess", "networks"):
        run(stage)
    for model in (*MODELS, "pca-3"):
        run("train", model, "0")
        run("evaluate", model, "0")
    described = json.loads(Path("models/tiny-large-0/model.json").read_text())
    assert described["code"]["source"] == CODE
    assert described["latent"] == 6 * 8 * 8
    provenance = json.loads(Path("models/tiny-large-0/provenance.json").read_text())
    assert provenance["network"] == described["code"]["sha256"]
    weights = Path("models/tiny-large-0/weights.safetensors")
    before = weights.read_bytes()
    run("train", "tiny-large", "0")  # dropout draws the same again
    assert weights.read_bytes() == before
    run("compare")
    verdicts = json.loads(Path("reports/verdicts.json").read_text())
    families = {c["family"] for claim in verdicts["claims"] for c in claim["comparisons"]}
    assert "mine.py:Tiny" in families
    assert "The class Tiny of mine.py" in Path("reports/index.html").read_text()
    run("publish")
    run("promote", "--version", "3")
    run("score", "data/own", "--output", "scores")
    assert len(pd.read_parquet("scores/scores.parquet")) == 36
    a_changed_file_trains_its_models_only(project)
    whose_code_is_run(project.path, monkeypatch)


def a_changed_file_trains_its_models_only(project) -> None:  # type: ignore[no-untyped-def]
    trainings = [f"train@{model}-0" for model in MODELS]
    project.run("dvc", "commit", "--force", "ingest", "preprocess", "networks", *trainings)
    with (project.path / "networks/mine.py").open("a") as file:
        file.write("# another line\n")
    project.run("dvc", "repro", "--single-item", "networks")
    status = project.run("dvc", "status", *trainings).stdout
    assert "train@tiny-small-0" in status
    assert "train@straight-0" in status
    assert "train@conv-small-0" not in status


def whose_code_is_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has changed since, but a training here ran the old one; a stranger's is refused."""
    folder = root / "models/tiny-small-0"
    assert load(folder).latent_size == 2 * 8 * 8
    for known in KNOWN_NETWORKS.iterdir():
        known.unlink()
    with pytest.raises(ClarityError, match="code of its own") as raised:
        load(folder)
    assert "\n" not in str(raised.value)
    result = clarity_here(root, "score", "data/own", "--output", "again")
    assert result.code == 2
    assert ALLOWED in result.complained
    assert result.complained.count("\n") == 1
    monkeypatch.setenv(ALLOWED, Code("mine.py:Tiny", CODE).sha256[:12])
    assert load(folder).latent_size == 2 * 8 * 8
    described = json.loads((folder / "model.json").read_text())
    described["code"]["source"] += "# changed"
    (folder / "model.json").write_text(json.dumps(described))
    with pytest.raises(ClarityError, match=r"model\.json was changed"):
        load(folder)


BASE = """
import numpy, torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3, padding=1)
"""
FORWARD = "    def forward(self, x):\n        return "
MISTAKES = {
    "another size": (
        "    def forward(self, x):\n        return self.layer(x)[..., 1:, 1:]",
        "31×31",
    ),
    "not finite": ("    def forward(self, x):\n        return self.layer(x) / 0", "not finite"),
    "far away": ("    def forward(self, x):\n        return 1e6 * self.layer(x)", "images lie in"),
    "sigmoid": (
        "    def forward(self, x):\n        return self.layer(x).sigmoid()",
        "end with Tanh",
    ),
    "random in eval": (
        "    def forward(self, x):\n        return self.layer(x) + torch.rand(1)",
        "differently each time",
    ),
    "others in the batch": (
        "    def forward(self, x):\n        return self.layer(x - x.mean(0))",
        "beside others",
    ),
    "randomness of its own": (
        "    def forward(self, x):\n        y = self.layer(x)\n"
        "        return y + numpy.random.rand() if self.training else y",
        "trains differently from the same seed",
    ),
    "weights of its own": (
        "        self.layer.weight.data *= numpy.random.rand()\n"
        "    def forward(self, x):\n        return self.layer(x)",
        "other weights from the same seed",
    ),
    "no gradient": (
        "    def forward(self, x):\n        return x + 0 * self.layer(x).sum()",
        "gets no gradient",
    ),
    "two codes": (
        "    def encode(self, x):\n        return x, x\n    def decode(self, z):\n        return z",
        "encode gives tuple",
    ),
    "no forward": ("", "NotImplementedError"),
    "a slip": ("    def forward(self, x):\n        return self.layr(x)", "fails in line 9"),
    "no Python": ("    def forward(self, x:\n", "fails in line"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_a_network_cannot_do_is_one_line_before_training(mistake: str) -> None:
    body, line = MISTAKES[mistake]
    with pytest.raises(ClarityError) as raised:
        check(Code("net.py:Net", BASE + body), {}, SHAPE, "mine", 0)
    assert line in str(raised.value)
    assert "net.py" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_is_fine_passes_and_its_codes_come_back() -> None:
    code = Code("mine.py:Tiny", CODE)
    check(code, {"width": 3}, SHAPE, "mine", 0)
    check(Code("mine.py:Straight", CODE), {}, SHAPE, "mine", 0)
    network = own(code, {"width": 3}, SHAPE, "mine").eval()
    x = torch.rand(2, *SHAPE.planes)
    assert network.encode(x).shape == (2, 3 * 8 * 8)
    assert torch.equal(network(x), network.module.decode(network.module.encode(x)))  # type: ignore[operator]
    with pytest.raises(ClarityError, match="unexpected keyword argument 'depth'"):
        own(code, {"width": 3, "depth": 1}, SHAPE, "mine")
    with pytest.raises(ClarityError, match="no module nowhere"):
        read_code("nowhere:Net")
    with pytest.raises(ClarityError, match=r"networks/gone\.py is not there"):
        read_code("gone.py:Net")
    assert "class Autoencoder" in read_code("clarity.models.base:Autoencoder").source
    with pytest.raises(ValueError, match="give arguments instead"):
        Model(family="mine.py:Tiny", widths=(4,))
