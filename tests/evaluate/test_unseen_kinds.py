"""What a detector is worth against kinds that it was not fitted to, wherever it is asked."""

from __future__ import annotations

import json
import re
from contextlib import chdir

import numpy as np
import pandas as pd
import pytest
from project import Project

from clarity.choice import FUSED
from clarity.evaluate.scorer import load_scorer
from clarity.layout import Training
from clarity.score.detector import Detector, Files


def test_the_gate_asks_what_the_report_says(project: Project) -> None:
    with chdir(project.path):
        training = Training("fcn-small", 0)
        detector = Detector.load(Files.of_training(training))
        assert detector.score_name == FUSED
        fused = load_scorer(training.scorer).fused
        assert fused is not None
        table = pd.read_parquet(training.per_image)
        images = np.load("data/processed/gate_anomalies.npy")[:8]
        verdict = detector.judge(images, kinds=[*fused.without, "other"])
        mine = table[(table["split"] == "gate") & (table["label"] == 1)].iloc[:8]
        for kind in fused.without:
            assert verdict.unseen[kind] == pytest.approx(mine[f"unseen_{kind}"].to_numpy())
        assert verdict.unseen["other"] == pytest.approx(mine["score_fused"].to_numpy())
    project.change({"gate": {"metric": "auroc_unseen_kind"}})
    told = project.run("clarity", "promote").stdout
    found = re.search(r"\((\S+-0)\) scored the gate split, auroc_unseen_kind (\d\.\d+)", told)
    assert found
    details = project.path / f"evaluations/{found[1]}/details.json"
    content = json.loads(details.read_text())
    mean = content["unseen_kind"][content["best_score"]]["gate"]["mean"]
    assert float(found[2]) == pytest.approx(mean, abs=5e-5)
    other = "1" if found[1] != "fcn-small-0" else "3"
    told = project.run("clarity", "promote", "--version", other).stdout
    assert "AUROC against kinds never seen " in told
