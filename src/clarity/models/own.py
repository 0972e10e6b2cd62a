"""Networks of one's own, as an `Autoencoder`; and what they must be able to do."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from clarity.errors import ClarityError
from clarity.layout import Shape
from clarity.models.base import Autoencoder
from clarity.networks import Code, load_class, told

#: Outputs beyond this are of no image; untrained networks are not within [-1, 1] yet.
FARTHEST = 100.0
#: Two passes of one image that differ by more than this are not the same.
SAME = 1e-4
#: Images of a trial.
TRIED = 4


class Own(Autoencoder):
    """A user's module: with ``encode`` and ``decode``, or one that reconstructs.

    Of one that only reconstructs the image itself stands for its code.

    Args:
        module: takes N×C×H×H in [-1, 1]. Its ``encode`` may give codes of any shape.
        code: its source.
        arguments: what it was made with.
        shape: of the images.
    """

    def __init__(
        self, module: nn.Module, code: Code, arguments: Mapping[str, Any], shape: Shape
    ) -> None:
        super().__init__(shape)
        self.module = module
        self.code = code
        self.arguments = dict(arguments)
        self.coded = all(callable(getattr(module, name, None)) for name in ("encode", "decode"))
        self.map = torch.Size(shape.planes)
        if self.coded:
            trained = module.training
            with torch.no_grad():
                found = module.eval().encode(torch.zeros(1, *shape.planes))  # type: ignore[operator]
            module.train(trained)
            if not isinstance(found, Tensor) or found.ndim < 2 or len(found) != 1:
                raise ClarityError(f"encode gives {_shown(found)} for one image, not its code")
            self.map = found.shape[1:]
        self.latent_size = self.map.numel()

    def encode(self, x: Tensor) -> Tensor:
        """Codes (N×latent) of images (N×C×H×H in [-1, 1])."""
        codes: Tensor = self.module.encode(x) if self.coded else x  # type: ignore[operator]
        return codes.flatten(1)

    def decode(self, z: Tensor) -> Tensor:
        """Images (N×C×H×H, about [-1, 1]) of codes (N×latent)."""
        codes = z.reshape(-1, *self.map)
        made: Tensor = self.module.decode(codes) if self.coded else self.module(codes)  # type: ignore[operator]
        return made

    def training_loss(
        self,
        x: Tensor,
        progress: float,
        generator: torch.Generator | None = None,
        *,
        given: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Autoencoder.training_loss`; torch's own draws (dropout) follow the generator."""
        if generator is not None:
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        return super().training_loss(x, progress, generator, given=given)


def own(code: Code, arguments: Mapping[str, Any], shape: Shape, name: str) -> Own:
    """The network of a class, made from torch's global generator.

    Its constructor gets the arguments, and ``size`` and ``channels`` where it asks for them.

    Raises:
        ClarityError: it cannot be made; one line.
    """
    made = load_class(code)
    where = f"models.{name}: {code.family}"
    if not issubclass(made, nn.Module):
        raise ClarityError(f"{where} is no torch.nn.Module")
    given = dict(arguments)
    asked = inspect.signature(made).parameters
    for key, value in (("size", shape.size), ("channels", shape.channels)):
        if key in asked:
            given.setdefault(key, value)
    try:
        return Own(made(**given), code, arguments, shape)
    except ClarityError as error:
        raise ClarityError(f"{where}: {error}") from None
    except Exception as error:
        raise ClarityError(f"{where} {told(error)}") from None


def check(code: Code, arguments: Mapping[str, Any], shape: Shape, name: str, seed: int) -> None:
    """Try what every network must be able to do, before an hour is spent on training it.

    Raises:
        ClarityError: what it cannot do, in one line.
    """
    where = f"models.{name}: {code.family}"

    def made() -> Own:
        torch.manual_seed(seed)
        return own(code, arguments, shape, name)

    state = torch.random.get_rng_state()
    try:
        problem = _problem(made(), made(), shape)
    except ClarityError:
        raise
    except Exception as error:
        raise ClarityError(f"{where} {told(error)}") from None
    finally:
        torch.random.set_rng_state(state)
    if problem:
        raise ClarityError(f"{where} {problem}")


def _problem(network: Own, again: Own, shape: Shape) -> str:
    weights, others = network.state_dict(), again.state_dict()
    if not list(network.parameters()):
        return "has no parameters, so there is nothing to train"
    if any(not torch.equal(value, others[key]) for key, value in weights.items()):
        return (
            "starts with other weights from the same seed; draw them by torch's generator alone, "
            "not numpy's or random's"
        )
    places = [value.data_ptr() for value in weights.values() if value.numel()]
    if len(set(places)) < len(places):
        return "has one tensor under two names; register it once and use it twice"
    x = torch.rand(TRIED, *shape.planes, generator=torch.Generator().manual_seed(0)) * 2 - 1
    network.eval()
    with torch.no_grad():
        first, second = network(x), network(x)
        alone = network(x[:1])
    if not isinstance(first, Tensor) or first.shape != x.shape:
        return f"gives {_shown(first)} for images of {_shown(x)}; it must give their shape"
    if not first.isfinite().all():
        return "gives values that are not finite"
    if first.abs().max() > FARTHEST:
        return f"gives values up to {first.abs().max():.3g}; images lie in [-1, 1]"
    if first.min() >= 0 and first.max() > 0:
        return (
            f"gives no value below 0 ({first.min():.3g} to {first.max():.3g}); images lie in "
            "[-1, 1], so end with Tanh or with nothing, not with Sigmoid or ReLU"
        )
    if (first - second).abs().max() > SAME:
        return "reconstructs an image differently each time; in eval mode it may draw nothing"
    if (first[:1] - alone).abs().max() > SAME * max(1.0, float(first.abs().max())):
        return "reconstructs an image differently beside others; in eval mode each is by itself"
    return _gradients(network, x)


def _gradients(network: Own, x: Tensor) -> str:
    """Whether a step of training is possible and repeats."""
    losses = []
    for one in (network, copy.deepcopy(network)):
        loss, _ = one.train().training_loss(x, 0.0, torch.Generator().manual_seed(0))
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(float(loss.detach()))
    if losses[0] != losses[1]:
        return (
            "trains differently from the same seed; draw by torch's generator alone, not numpy's "
            "or random's"
        )
    found = [p.grad for p in network.parameters() if p.grad is not None]
    if not found or all(not gradient.any() for gradient in found):
        return "gets no gradient: its output does not depend on its parameters"
    if not all(gradient.isfinite().all() for gradient in found):
        return "gets gradients that are not finite"
    return ""


def _shown(value: Any) -> str:
    return "×".join(map(str, value.shape)) if isinstance(value, Tensor) else type(value).__name__
