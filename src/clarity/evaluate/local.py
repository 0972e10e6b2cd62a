"""How unusual the error is for its place: patches of it, each against a Gaussian of that place.

A network errs in one way at an eye and in another in the background. What the errors of training
images look like in a place, their mean and how their pixels vary together, is fitted there; an
image's signal is the worst of its places. PaDiM (Defard, Setkov, Loesch & Audigier 2021) does so
with the features of a network trained on other pictures; here it is the model's own error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from clarity.evaluate.spectrum import ROUNDING

#: Side of the square patches, and how far apart they lie, in pixels.
SIDE, STRIDE = 6, 3
#: Larger pictures' errors are brought to so many pixels a side, each the mean of those in it: what
#: it takes in memory and time does not grow with the pictures.
LOOKED_AT = 64
#: Added to the variance in every direction, as a share of the mean variance of a place's pixels.
RIDGE = 1e-3


@dataclass(frozen=True)
class Local:
    """The fitted Gaussians of P places, of patches of D pixels.

    Attributes:
        whitening: P×D×D, float32: what it makes of a patch, less its mean, has for length the
            patch's Mahalanobis distance over √D.
        offset: P×1×D, the mean so whitened, negated.
    """

    whitening: Tensor
    offset: Tensor

    def __call__(self, error: Tensor) -> Tensor:
        """Largest squared distance of any place: N, float64, 0 or more, about 3 for a normal.

        Args:
            error: N×H×H, signed error of the luma, images on [0, 1].
        """
        device = error.device
        white = torch.baddbmm(self.offset.to(device), _patches(error), self.whitening.to(device))
        return white.square_().sum(2).amax(0).double()


def _patches(error: Tensor) -> Tensor:
    """N×H×H to P×N×D."""
    if error.shape[-1] > LOOKED_AT:
        error = torch.nn.functional.adaptive_avg_pool2d(error[:, None], LOOKED_AT)[:, 0]
    found = error.unfold(1, SIDE, STRIDE).unfold(2, SIDE, STRIDE)
    return found.permute(1, 2, 0, 3, 4).reshape(-1, len(error), SIDE**2)


def fit_local(errors: Iterable[Tensor], people: int) -> Local:
    """Fit to the errors of training normals, a batch at a time.

    The covariance of a place is its own and, as far as there are few people to know it from, that
    of all places: with D the pixels of a patch, its own counts people / (people + D). Pictures of
    one person are alike, and say little more than one of them.

    Args:
        errors: N×H×H each, as `Local` takes them; at least one image.
        people: groups that they are of.
    """
    count, first, second = 0, torch.zeros(()), torch.zeros(())
    for batch in errors:
        patches = _patches(batch).double()
        count += len(batch)
        first = first + patches.sum(1)
        second = second + patches.mT @ patches
    mean = first / count
    covariance = second / count - mean[:, :, None] * mean[:, None, :]
    size = mean.shape[1]
    variance = covariance.diagonal(dim1=1, dim2=2).mean(1).clamp_min(ROUNDING)[:, None, None]
    own = covariance / variance
    share = people / (people + size)
    known = share * own + (1 - share) * own.mean(0) + RIDGE * torch.eye(size).to(own)
    whitening = torch.linalg.cholesky(torch.linalg.inv(known)) / (variance * size).sqrt()
    offset = -mean[:, None, :] @ whitening
    return Local(*(one.float().contiguous().cpu() for one in (whitening, offset)))
