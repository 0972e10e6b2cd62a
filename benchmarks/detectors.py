"""Clarity's detectors beside what one would reach for instead, on the same images.

    python benchmarks/detectors.py                 # in a project after `dvc repro`
    python benchmarks/detectors.py --seeds 5 --out detectors.json

Peers see the training normals and no anomaly: the error of a PCA of 64 and of 256 components, and
on the codes of the 64 components scikit-learn's isolation forest, one-class SVM and local outlier
factor; with PyOD (`pip install pyod`, in an environment of your own) also ECOD, and deep SVDD on
the pixels. A peer that draws is fitted from `--seeds` seeds, over which its figure is averaged.
Judged is the mean over kinds of the AUROC on test, or on another split (`--split gate`, where a
set brings its own anomalies to test): no peer was fitted to any kind, and neither were
Clarity's scores to the kind in question. The difference is from the model that is best on `val`,
with an interval over people.

Left out, since they need weights that somebody trained on other pictures: PatchCore, PaDiM,
FastFlow and the like of anomalib.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clarity.choice import best_score, unseen_column
from clarity.details import read_details
from clarity.files import write_json
from clarity.layout import INDEX, anomalies, normals
from clarity.params import load_params
from clarity.statistics import kinds_difference_interval, kinds_interval

Floats = NDArray[np.float64]
#: Fits to training images and scores others, by seed: N each, higher is more anomalous.
Peer = Callable[[Floats, Floats, int], Floats]


def pixels(path: Path) -> Floats:
    """N×D on [0, 1]."""
    images = np.load(path, allow_pickle=False)
    return images.reshape(len(images), -1) / 255.0


def components(train: Floats, latent: int) -> Any:
    from sklearn.decomposition import PCA

    return PCA(min(latent, len(train) - 1), random_state=0).fit(train)


def pca_error(latent: int) -> Peer:
    def scores(train: Floats, test: Floats, seed: int) -> Floats:
        pca = components(train, latent)
        made = pca.inverse_transform(pca.transform(test))
        found: Floats = np.square(made - test).mean(1)
        return found

    return scores


def on_codes(make: Callable[[int], Any], latent: int = 64) -> Peer:
    """A detector of scikit-learn's on whitened codes."""

    def scores(train: Floats, test: Floats, seed: int) -> Floats:
        pca = components(train, latent)
        spread = np.sqrt(pca.explained_variance_) + 1e-9
        a, b = (pca.transform(part) / spread for part in (train, test))
        found: Floats = -make(seed).fit(a).score_samples(b)
        return found

    return scores


def of_pyod(make: Callable[[int, int], Any], latent: int | None = 64) -> Peer:
    """A detector of PyOD's on whitened codes, or on pixels."""

    def scores(train: Floats, test: Floats, seed: int) -> Floats:
        a, b = train, test
        if latent is not None:
            pca = components(train, latent)
            spread = np.sqrt(pca.explained_variance_) + 1e-9
            a, b = (pca.transform(part) / spread for part in (train, test))
        found: Floats = np.asarray(make(seed, a.shape[1]).fit(a).decision_function(b))
        return found

    return scores


def peers() -> Iterator[tuple[str, Peer, bool]]:
    """Name, peer, and whether it draws."""
    from sklearn.ensemble import IsolationForest
    from sklearn.neighbors import LocalOutlierFactor
    from sklearn.svm import OneClassSVM

    yield "PCA 64, error", pca_error(64), False
    yield "PCA 256, error", pca_error(256), False
    forest = on_codes(lambda seed: IsolationForest(n_estimators=300, random_state=seed))
    yield "isolation forest on 64 codes", forest, True
    yield "one-class SVM on 64 codes", on_codes(lambda seed: OneClassSVM(nu=0.1)), False
    neighbours = on_codes(lambda seed: LocalOutlierFactor(novelty=True))
    yield "local outlier factor on 64 codes", neighbours, False
    if importlib.util.find_spec("pyod") is None:
        print("PyOD is not installed: ECOD and deep SVDD are left out")
        return
    from pyod.models.deep_svdd import DeepSVDD
    from pyod.models.ecod import ECOD

    yield "ECOD on 64 codes (PyOD)", of_pyod(lambda seed, width: ECOD()), False
    svdd = of_pyod(
        lambda seed, width: DeepSVDD(width, epochs=50, random_state=seed, verbose=0), None
    )
    yield "deep SVDD on pixels (PyOD)", svdd, True


def ours(kinds: list[str], split: str) -> dict[str, tuple[float, dict[str, Floats]]]:
    """By model or ensemble: its figure on `val`, and its scores by kind, S×N on the split."""
    found = {}
    for name, outputs in load_params().detectors.items():
        best, figure = best_score([read_details(one.details) for one in outputs])
        frames = [pd.read_parquet(one.per_image) for one in outputs]
        frames = [frame[frame["split"] == split] for frame in frames]
        columns = {k: unseen_column(k, best, frames[0].columns) for k in kinds}
        scores = {k: np.stack([f[c].to_numpy() for f in frames]) for k, c in columns.items()}
        found[name] = figure, scores
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--split", choices=("gate", "test"), default="test")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    index = pd.read_csv(INDEX, dtype={"group": str, "id": str}, keep_default_na=False)
    index = index[index["split"] == options.split]
    labels, groups, names = (index[c].to_numpy() for c in ("label", "group", "kind"))
    kinds = sorted(set(names[labels == 1].tolist()))
    train = pixels(normals("train"))
    judged = (normals(options.split), anomalies(options.split))
    test = np.concatenate([pixels(path) for path in judged])
    known = ours(kinds, options.split)
    first = max(known, key=lambda name: (known[name][0], name))
    rows = []

    def tell(name: str, scores: dict[str, Floats], fixed: bool) -> None:
        level = kinds_interval(scores, labels, groups, names, deterministic=fixed)
        row = {"detector": name, "auroc": level.estimate, "low": level.low, "high": level.high}
        told = f"{name:36} {level.estimate:.3f} ({level.low:.3f} to {level.high:.3f})"
        if name != first:
            gap = kinds_difference_interval(
                known[first][1], scores, labels, groups, names,
                deterministic=(first.startswith("pca"), fixed),
            )  # fmt: skip
            row |= {"behind": gap.estimate, "behind_low": gap.low, "behind_high": gap.high}
            told += (
                f"   {first} is ahead by {gap.estimate:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"
            )
        rows.append(row)
        print(told, flush=True)

    print(f"{len(train):,} training images; AUROC on {options.split}, mean over {', '.join(kinds)}")
    for name, (_, scores) in sorted(known.items(), key=lambda one: -one[1][0]):
        tell(name, scores, name.startswith("pca"))
    for name, peer, draws in peers():
        seeds = range(options.seeds if draws else 1)
        values = np.stack([peer(train, test, seed) for seed in seeds])
        tell(name, dict.fromkeys(kinds, values), not draws)
    if options.out:
        write_json(options.out, {"best on val": first, "rows": rows})


if __name__ == "__main__":
    main()
