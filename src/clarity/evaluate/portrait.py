"""Latent space, samples and pictures of one model: what one pass over images cannot give."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clarity.evaluate import figures, latent, samples
from clarity.evaluate.forward import decode, encode, through
from clarity.evaluate.images import Images, concatenated, face_pairs, shown_faces
from clarity.evaluate.measure import Measured
from clarity.evaluate.scorer import Scorer
from clarity.evaluate.sheet import as_bytes
from clarity.models.base import Autoencoder, at_most
from clarity.params import ENSEMBLE, Evaluate, family_of

#: Test and training faces (of 64×64×3; fewer larger ones) that samples are compared with, at most.
MOST_REAL = 1024
WALKED = ("train", "test")
#: Keys of details.json, in the order of `latent.Paths`.
WALKS = ("path_length", "jump", "jump_haarpsi", "crossfade")


@dataclass(frozen=True)
class Portrait:
    """One model with everything that its portrait is taken from; see `measure` for the parts."""

    model: Autoencoder
    family: str
    scorer: Scorer
    images: Images
    latents: Tensor
    settings: Evaluate
    name: str

    def latent_space(self) -> dict[str, Any]:
        """``latent_space`` of details.json; docs/metrics/latent-space.md explains each figure."""
        count, size = self.latents.shape
        result: dict[str, Any] = {
            "size": size,
            "faces": count,
            "participation_ratio": latent.participation_ratio(self.latents),
            "participation_bound": min(size, min(count, latent.MOST_FACES) - 1),
            "steps": self.settings.steps,
            **{key: {} for key in ("path_pairs", *WALKS, *(f"{key}_mean" for key in WALKS))},
        }
        for split in WALKED:
            first, second, groups, _, _ = self._pairs[split]
            paths = latent.walks(self.model, first, second, self.settings.steps)
            result["path_pairs"][split] = groups
            for key, values in zip(WALKS, astuple(paths), strict=True):
                result[key][split] = values
                result[f"{key}_mean"][split] = float(np.mean(values)) if values else None
        if family_of(self.family).prior:
            active = latent.active_units(self.latents)
            share = sum(active) / size
            result |= {
                "active_units": sum(active),
                "active_share": share,
                "collapsed": share < latent.COLLAPSED,
            }
        return result

    def samples(self) -> dict[str, Any]:
        """``samples`` of details.json; docs/metrics/samples.md explains each figure."""
        if self.family == ENSEMBLE:
            return {
                "skipped": "an ensemble draws nothing: its members do, each from its own latent"
            }
        if not self._made:
            size = self.latents.shape[1]
            return {
                "skipped": f"the latent has {size:,} elements, more than {samples.MOST_ELEMENTS}: "
                f"no density can be fitted to it with {len(self.latents):,} training images"
            }
        real = self._real("test")
        rebuilt = torch.cat([part for _, part in real])
        faces = torch.cat([part for part, _ in real])
        train = torch.cat([part for part, _ in self._real("train")])
        count = self.settings.samples
        if min(count, len(faces), len(train)) < 2:
            return {"skipped": "one image says nothing of how a set of them varies"}
        small_train, small_test = samples.thumbnails(train), samples.thumbnails(faces)
        features = samples.Features(small_train, min(count, len(faces)))
        seen_train, seen_test = features(small_train), features(small_test)
        # As many training faces as samples: the reach of a set depends on how many it holds.
        even = np.linspace(0, len(train) - 1, min(count, len(train))).round().astype(np.int64)
        precision, recall = samples.precision_recall(seen_train[even], seen_test)
        real_db = samples.high_frequency_db(faces).mean()

        def described(made: Tensor, known: dict[str, Any]) -> dict[str, Any]:
            seen = features(samples.thumbnails(made))
            sharp = samples.sharpness(made)
            found = samples.precision_recall(seen, seen_test)
            return {
                **known,
                "sharpness": sharp.tolist(),
                "sharpness_mean": float(sharp.mean()),
                "high_frequency_db": float(samples.high_frequency_db(made).mean() - real_db),
                "frechet": samples.frechet_distance(seen, seen_test),
                **dict(zip(("precision", "recall"), found, strict=True)),
            }

        drawn = [described(*one) for one in self._made]
        return {
            **drawn[0],
            "count": count,
            "fitted": drawn[1] if len(drawn) > 1 else None,
            "sharpness_reconstructions_mean": float(samples.sharpness(rebuilt).mean()),
            "sharpness_real_mean": float(samples.sharpness(faces).mean()),
            "frechet_train": samples.frechet_distance(seen_train, seen_test),
            "precision_train": precision,
            "recall_train": recall,
            "features": f"{features.count} principal components of training images, grey, "
            f"{samples.SIDE}×{samples.SIDE}; not FID",
        }

    def pictures(self, measured: Measured) -> dict[str, bytes]:
        """PNG bytes by file name."""
        rows = shown_faces(self.images.normals("test"), self.settings.faces)
        grid, strip = figures.grid(self.model, self.scorer, self.images, rows, self.name)
        found = {
            "grid.png": grid,
            "strip.png": strip,
            "extremes.png": figures.extremes(
                self.model, self.scorer, self.images, measured.table, self.name
            ),
            "traversal.png": figures.traversals(
                self.model, self.latents, self._pairs["test"][0], self.name
            ),
            "latent_map.png": self._map(measured),
        }
        first, second, groups, a, b = self._pairs["test"]
        if groups:
            originals = (
                self.images.batch("test", 0, a[: figures.WALKS]).cpu().numpy(),
                self.images.batch("test", 0, b[: figures.WALKS]).cpu().numpy(),
            )
            found["interpolation.png"] = figures.interpolation(
                self.model, (first, second), originals, self.name
            )
        if self._made:
            real = self.images.batch("test", 0, rows).cpu().numpy()
            described = [known for _, known in self._made]
            what = "; ".join(known["source"] for known in described)
            note = f"{what[0].upper()}{what[1:]}. Last row: real test images."
            titles = {"prior": "the prior", "mixture": "a density fitted to the latents"}
            found["samples.png"] = figures.drawn(
                [as_bytes(made) for made, _ in self._made],
                real,
                self.name,
                " and from ".join(titles[known["method"]] for known in described),
                note,
            )
        return found

    @cached_property
    def _pairs(
        self,
    ) -> dict[str, tuple[Tensor, Tensor, list[list[str]], NDArray[np.int64], NDArray[np.int64]]]:
        """By split: latents of both ends, groups of both, rows of both."""
        found = {}
        for split in WALKED:
            normals = self.images.normals(split)
            a, b, groups = face_pairs(normals, self.settings.pairs, self.settings.seed)
            ends = [
                torch.cat(
                    [
                        encode(self.model, part)
                        for part in self.images.chunks(split, rows, self.settings.batch_size)
                    ]
                    or [self.latents[:0].to(self.images.device)]
                )
                for rows in (a, b)
            ]
            found[split] = (ends[0], ends[1], groups, a, b)
        return found

    @cached_property
    def _made(self) -> list[tuple[Tensor, dict[str, Any]]]:
        """Samples (N×C×H×H on [0, 1], CPU) and where they come from; none for a wide latent.

        Of a VAE from its prior first, then, as of the others, from a density fitted to the latents:
        what its decoder draws from where the faces are.
        """
        size, count, seed = self.latents.shape[1], self.settings.samples, self.settings.seed
        if not family_of(self.family).bottleneck or size > samples.MOST_ELEMENTS:
            return []
        drawn, used = samples.mixture_latents(self.latents, count, self.settings.components, seed)
        what = f"a mixture of {used} Gaussians" if used > 1 else "a Gaussian"
        source = f"draws from {what} fitted to {len(self.latents):,} training latents"
        found: list[tuple[Tensor, dict[str, Any]]] = []
        if family_of(self.family).prior:
            known: dict[str, Any] = {"method": "prior", "source": "draws from the prior N(0, I)"}
            found.append((self._decoded(samples.prior_latents(count, size, seed)), known))
        known = {"method": "mixture", "components": used, "source": source}
        return [*found, (self._decoded(drawn), known)]

    def _decoded(self, latents: Tensor) -> Tensor:
        """Images of these latents, a batch at a time, on the CPU."""
        batches = torch.split(latents.to(self.images.device), self.settings.batch_size)
        return concatenated([decode(self.model, part) for part in batches])

    def _real(self, split: str) -> list[tuple[Tensor, Tensor]]:
        """Faces of a split and their reconstructions (of ``test`` alone), on the CPU."""
        rows = self.images.sample(split, at_most(MOST_REAL, self.images.shape))
        found = []
        for batch in self.images.chunks(split, rows, self.settings.batch_size):
            if split == "test":
                passed = through(self.model, batch)
                found.append((passed.original.cpu(), passed.reconstruction.cpu()))
            else:
                unit = (batch.permute(0, 3, 1, 2).float() / 255).cpu()
                found.append((unit, unit[:0]))
        return found

    def _map(self, measured: Measured) -> bytes:
        """Test images in the first two principal components of the training latents."""
        test = measured.table["split"] == "test"
        anomalous = test & (measured.table["label"] == 1)
        points = {"normal": measured.plane[test & ~anomalous]}
        for kind in sorted(set(measured.table.loc[anomalous, "kind"])):
            points[kind] = measured.plane[anomalous & (measured.table["kind"] == kind)]
        total = float(self.latents.double().var(0).sum()) or 1.0
        along = self.scorer.principal_plane(self.latents).var(0) / total
        return figures.latent_map(points, [*along.tolist(), 0.0][:2], self.name)
