"""details.json: nothing unknown is written, older ones have defaults, broken ones are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from described import details
from pydantic import ValidationError

from clarity.details import read_details
from clarity.errors import ClarityError


def test_what_was_measured_is_written_as_it_is_and_no_default(tmp_path: Path) -> None:
    path = tmp_path / "details.json"
    full = details("fused", anomaly={"fused": {"test": {"all": {"auroc": 0.5, "n": 3}}}})
    full.write(path)
    assert read_details(path) == full
    content = json.loads(path.read_text())
    assert content["anomaly"]["fused"]["test"]["all"] == {"auroc": 0.5, "n": 3}
    assert not {"panel", "samples", "white"} & set(content)
    nothing = details(reconstruction={"test": {"mse": float("nan")}})
    assert nothing.reconstruction["test"]["mse"] is None


def test_a_figure_that_nobody_knows_is_refused_when_it_is_written() -> None:
    with pytest.raises(ValidationError, match="sharpnes"):
        details(samples={"sharpnes": [1.0]})


def test_an_older_evaluation_has_defaults_and_a_newer_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "details.json"
    content = details().known() | {"of_tomorrow": 1}
    path.write_text(json.dumps(content))
    found = read_details(path)
    assert found.threshold["mse"].promised
    assert found.panel == {}
    assert not found.latent_space.collapsed


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda c: c.pop("latent"), "details.json: latent is missing; "),
        (lambda c: c["threshold"]["mse"].update(value="high"), "broken (threshold.mse.value"),
        (lambda c: c.clear(), "details.json: anomaly is missing; "),
    ],
)
def test_a_broken_one_is_one_line(change, line: str, tmp_path: Path) -> None:
    content = details().known()
    change(content)
    path = tmp_path / "details.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ClarityError) as told:
        read_details(path, "evaluate@small-0")
    assert line in str(told.value)
    assert str(told.value).endswith("run `dvc repro -f evaluate@small-0`")
    assert "\n" not in str(told.value)
    for text in ("[]", "{", ""):
        path.write_text(text)
        with pytest.raises(ClarityError, match=r"broken|not valid JSON"):
            read_details(path)
