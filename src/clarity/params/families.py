"""Families of networks, a row each: what params.yaml gives them, and how they are shown.

A new family is a row here, a line of `clarity.models.build.BUILDERS` and a file for its network.
A network of the user's own, and an ensemble, have a row too: nothing that asks about a family has
to know which one it is.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """What all networks of a family have in common.

    Attributes:
        key: in ``params.yaml``.
        labels: as texts write it, the usual one first.
        name: spelled out.
        text: what it is, in a sentence or two.
        colour, mark: of its lines and points in figures; colours are Okabe & Ito's, told apart with
            any colour vision, and dark enough for white paper. Empty for networks of one's own,
            which share a few (`clarity.compare.style`).
        widths: whether ``widths`` of hidden layers are asked for.
        decoder_widths: whether the way back may have other widths.
        halves: whether each width halves the image's side.
        bottleneck: whether ``latent`` is asked for: a bottleneck of so many elements. Without, the
            last feature map is the latent, and no density is fitted to it.
        fitted: at once and without a seed: there is no recipe, no budget and no learning curve.
        linear: what networks have to be better than; no claim about size is made of it.
        prior: codes are held near a standard normal distribution, which samples are drawn from;
            the loss is the ELBO, on squared errors.
        twin: the family without the prior that it is compared with.
        latents_shown: its place among families whose latent space is shown; the first come first.
    """

    key: str
    labels: tuple[str, ...]
    name: str
    text: str
    colour: str
    mark: str
    widths: bool = True
    decoder_widths: bool = False
    halves: bool = True
    bottleneck: bool = True
    fitted: bool = False
    linear: bool = False
    prior: bool = False
    twin: str = ""
    latents_shown: int = 9


_ROWS = (
    Family(
        "fcn", ("fcn", "FCN", "FCNs"), "fully connected networks",
        "Every pixel is joined to every unit; a bottleneck of few numbers is the latent.",
        "#0072B2", "o", decoder_widths=True, halves=False, latents_shown=2,
    ),
    Family(
        "conv", ("conv",), "convolutional autoencoders without a narrow bottleneck",
        "The last feature map is the latent; it grows with the width.",
        "#D55E00", "s", bottleneck=False, latents_shown=4,
    ),
    Family(
        "ae", ("ae", "AE", "AEs"), "plain convolutional autoencoders",
        "Encoder and decoder of the VAEs, without the prior.",
        "#00805E", "^", latents_shown=1,
    ),
    Family(
        "vae", ("vae", "VAE", "VAEs"), "variational autoencoders",
        "The latent is a distribution held near a standard normal one (Kingma & Welling 2014).",
        "#B3478C", "D", prior=True, twin="ae", latents_shown=0,
    ),
    Family(
        "pca", ("pca", "PCA", "PCAs"), "principal component analysis",
        "The best linear autoencoder of its latent size, fitted at once; it has no seed.",
        "#4D4D4D", "X", widths=False, halves=False, fitted=True, linear=True, latents_shown=3,
    ),
)  # fmt: skip

#: Clarity's own, by key, in the order in which they are shown.
FAMILIES = {family.key: family for family in _ROWS}

#: What stands for the family of several trainings in one (`clarity.ensembles`).
ENSEMBLE = "ensemble"
_ENSEMBLE = Family(
    ENSEMBLE, (ENSEMBLE,), "several models as one",
    "Codes side by side; the reconstruction is the mean of its members'.",
    "#6B4E16", "h", bottleneck=False,
)  # fmt: skip


def family_of(key: str) -> Family:
    """A family's row; of a network of one's own (``FILE.py:CLASS``) one made for it.

    Raises:
        KeyError: it is none of them.
    """
    if key in FAMILIES:
        return FAMILIES[key]
    if key == ENSEMBLE:
        return _ENSEMBLE
    place, separator, name = key.partition(":")
    if not separator:
        raise KeyError(key)
    text = f"The class {name} of {place}, with the arguments that params.yaml gives."
    return Family(key, (key,), "networks of this project's own", text, "", "")
