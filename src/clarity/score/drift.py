"""Whether pictures that arrive are like those a model was made from.

Three views, each a named two-sample test of the arrivals against a reference (unseen people of the
training data):

=====================  ================================  ========================================
what                   test                              effect
=====================  ================================  ========================================
image statistics       Kolmogorov-Smirnov                Wasserstein distance in reference SDs
reconstruction error   Kolmogorov-Smirnov                Wasserstein distance in reference SDs
latent codes           maximum mean discrepancy (MMD),   MMD itself, 0 (alike) to √2
                       Gaussian kernel, permutations
=====================  ================================  ========================================

All p-values of one look are adjusted together (Holm). A test alone does not make a drift: with
enough pictures any difference is significant, so its effect must also exceed the stated one.

Pictures of one person are alike, and the tests take them for independent: p-values are too small
where few people make many pictures. The bound on the effect guards against that too.

Sources: Massey 1951 (KS); Gretton et al. 2012, "A Kernel Two-Sample Test" (MMD); Holm 1979;
Rabanser et al. 2019, "Failing Loudly" (which tests find which drifts).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clarity.params import Drift

Floats = NDArray[np.float64]
Images = NDArray[np.uint8]

#: Codes beyond this number are drawn at random: the kernel takes their square.
LARGEST = 500
#: Images whose statistics are in memory at a time.
BATCH = 1024
#: Effects from here on are not told apart.
BEYOND = 100
#: Weights of red, green and blue in brightness (ITU-R BT.601).
LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Sample:
    """Images and what a model makes of them."""

    #: N×H×H×C uint8.
    images: Images
    #: N reconstruction errors; None without a model.
    errors: Floats | None = None
    #: N×D latent codes, as the model has them: the largest networks' are many; None without one.
    codes: NDArray[np.floating] | None = None


def amount(effect: float) -> str:
    """An effect for the eye: two digits, or that it is beyond all measure.

    Where the reference does not vary at all (grey pictures have no colour) any difference is.
    """
    return f"{effect:.2f}" if effect < BEYOND else f"over {BEYOND}"


@dataclass(frozen=True)
class Test:
    """One test of one quantity."""

    quantity: str
    test: str
    #: KS distance in [0, 1], or MMD² (unbiased, so it may be below 0).
    statistic: float
    #: How large the difference is; see the module's table.
    effect: float
    p: float
    #: Adjusted for all tests of the same look.
    p_adjusted: float
    drifted: bool


@dataclass(frozen=True)
class Report:
    """All tests of one look."""

    reference: int
    arrived: int
    tests: tuple[Test, ...]

    @property
    def drifted(self) -> bool:
        """Whether any quantity drifted."""
        return any(test.drifted for test in self.tests)

    @property
    def sentence(self) -> str:
        """The finding in one line."""
        found = [test for test in self.tests if test.drifted]
        if not self.tests:
            return f"{self.arrived} pictures are too few to judge drift"
        if not found:
            largest = max(self.tests, key=lambda test: test.effect)
            return (
                f"no drift in {self.arrived} pictures (largest effect: {largest.quantity}, "
                f"{amount(largest.effect)})"
            )
        named = ", ".join(
            f"{test.quantity} ({test.test}, effect {amount(test.effect)}, p {test.p_adjusted:.2g})"
            for test in sorted(found, key=lambda test: -test.effect)
        )
        return f"drift in {self.arrived} pictures: {named}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"drifted": self.drifted, "sentence": self.sentence, **asdict(self)}


def statistics(images: Images) -> dict[str, Floats]:
    """Statistics of each image, on [0, 1]; every value is N float64.

    ``brightness``: mean luma. ``contrast``: its standard deviation. ``colour``: mean distance of
    the channels from their mean (0 for grey). ``sharpness``: log of the variance of the luma's
    Laplacian (Pech-Pacheco et al. 2000).
    """
    parts: list[Floats] = []
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH].astype(np.float64) / 255
        luma = batch @ LUMA if batch.shape[3] == 3 else batch[..., 0]
        centre = luma[:, 1:-1, 1:-1]
        laplacian = (
            luma[:, :-2, 1:-1] + luma[:, 2:, 1:-1] + luma[:, 1:-1, :-2] + luma[:, 1:-1, 2:]
        ) - 4 * centre
        colour = np.abs(batch - batch.mean(axis=3, keepdims=True)).mean(axis=(1, 2, 3))
        # One grey level's rounding is the floor: a flat picture has no finite logarithm.
        sharpness = np.log10(laplacian.var(axis=(1, 2)) + (1 / 255) ** 2)
        parts.append(np.stack([luma.mean(axis=(1, 2)), luma.std(axis=(1, 2)), colour, sharpness]))
    table = np.concatenate(parts, axis=1) if parts else np.empty((4, 0))
    return dict(zip(("brightness", "contrast", "colour", "sharpness"), table, strict=True))


def measure(reference: Sample, arrived: Sample, settings: Drift) -> Report:
    """Test the arrivals against the reference.

    Fewer than ``drift.minimum`` images on either side give a report without tests. Errors and codes
    are tested where both samples have them.
    """
    sizes = len(reference.images), len(arrived.images)
    if min(sizes) < settings.minimum:
        return Report(*sizes, ())
    quantities = statistics(reference.images), statistics(arrived.images)
    pairs = {name: (quantities[0][name], quantities[1][name]) for name in quantities[0]}
    if reference.errors is not None and arrived.errors is not None:
        pairs["reconstruction error"] = reference.errors, arrived.errors
    found = [(name, "KS", *_one_dimension(a, b)) for name, (a, b) in pairs.items()]
    if reference.codes is not None and arrived.codes is not None:
        found.append(("latent codes", "MMD", *_codes(reference.codes, arrived.codes, settings)))

    from statsmodels.stats.multitest import multipletests

    rejected, adjusted, _, _ = multipletests(
        [p for *_, p in found], alpha=settings.alpha, method="holm"
    )
    tests = tuple(
        Test(name, test, statistic, effect, p, float(own), bool(no and effect > settings.effect))
        for (name, test, statistic, effect, p), own, no in zip(
            found, adjusted, rejected, strict=True
        )
    )
    return Report(*sizes, tests)


def _one_dimension(a: Floats, b: Floats) -> tuple[float, float, float]:
    """KS statistic, Wasserstein distance in SDs of ``a``, and the KS test's p-value."""
    from scipy.stats import ks_2samp, wasserstein_distance

    test = ks_2samp(a, b)
    spread = float(a.std())
    distance = float(wasserstein_distance(a, b))
    # Grey pictures have no colour at all: any colour is then an infinite effect, none is none.
    effect = distance / spread if spread > 1e-9 else (0.0 if distance < 1e-9 else np.inf)
    return float(test.statistic), min(effect, 1e6), float(test.pvalue)


def _codes(
    a: NDArray[np.floating], b: NDArray[np.floating], settings: Drift
) -> tuple[float, float, float]:
    """MMD² of two sets of codes, its root, and the permutation p-value."""
    generator = np.random.default_rng(settings.seed)
    a, b = (
        codes[generator.choice(len(codes), LARGEST, replace=False)].astype(np.float64)
        if len(codes) > LARGEST
        else codes.astype(np.float64)
        for codes in (a, b)
    )
    scale = a.std(axis=0)
    both = np.concatenate([a, b]) / np.where(scale > 1e-9, scale, 1.0)
    kernel = gaussian_kernel(both)
    labels = np.arange(len(both)) < len(a)
    observed = mmd2(kernel, labels[None])[0]
    shuffled = generator.permuted(np.tile(labels, (settings.permutations, 1)), axis=1)
    null = mmd2(kernel, shuffled)
    p = (1 + int((null >= observed).sum())) / (1 + settings.permutations)
    return float(observed), float(np.sqrt(max(observed, 0.0))), p


def gaussian_kernel(codes: Floats) -> Floats:
    """Gaussian kernel of N×D codes, N×N, its width the median distance between two of them."""
    from scipy.spatial.distance import pdist, squareform

    squared = pdist(codes, "sqeuclidean")
    width = float(np.median(squared)) or 1.0
    kernel: Floats = np.exp(-squareform(squared) / width)
    return kernel


def mmd2(kernel: Floats, first: NDArray[np.bool_]) -> Floats:
    """Unbiased MMD² for each row of ``first`` (R×N), which says who is in the first sample.

    Gretton et al. 2012, equation 3; all rows hold the same number in the first sample.
    """
    x = first.astype(np.float64)
    y = 1 - x
    n, m = x[0].sum(), y[0].sum()
    bare = kernel - np.diag(np.diag(kernel))
    within_x = ((x @ bare) * x).sum(axis=1) / (n * (n - 1))
    within_y = ((y @ bare) * y).sum(axis=1) / (m * (m - 1))
    across = ((x @ kernel) * y).sum(axis=1) / (n * m)
    result: Floats = within_x + within_y - 2 * across
    return result
