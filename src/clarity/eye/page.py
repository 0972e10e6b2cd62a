"""The page: one file that stands alone, asks, and keeps the answers until they are saved."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from clarity.eye.answers import COLUMNS
from clarity.eye.draw import Deck
from clarity.eye.pictures import Picture, Shown
from clarity.eye.questions import Question
from clarity.files import sha256_bytes

_TEMPLATES = Path(__file__).parent / "templates"
_PREFIX = "data:image/png;base64,"


def page(deck: Deck, keys: Sequence[str], shown: Sequence[Shown], question: Question) -> str:
    """The page as HTML; the same text for the same pairs. It names no model and no side.

    Args:
        keys: of the trials, row for row with ``shown``.
    """
    high, wide = shown[0].left.shape[:2]
    pairs = []
    for key, pictures in zip(keys, shown, strict=True):
        sides = {"left": pictures.left, "middle": pictures.middle, "right": pictures.right}
        encoded = {side: _png(p) for side, p in sides.items() if p is not None}
        pairs.append({"pair": key, **encoded})
    content = {
        "deck": str(deck),
        "key": sha256_bytes("\n".join(keys).encode())[:12],
        "columns": COLUMNS,
        "prefix": _PREFIX,
        "size": [wide, high],
        "pairs": pairs,
    }
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    tall = high > wide
    shape = "two" if not question.middle else "tall" if tall else "three"
    return (
        environment.get_template("eye.html.j2").render(
            style=Markup((_TEMPLATES / "eye.css").read_text(encoding="utf-8")),  # noqa: S704 - ours
            script=Markup((_TEMPLATES / "eye.js").read_text(encoding="utf-8")),  # noqa: S704 - ours
            # Inside a script element nothing is unescaped, and only this could end it.
            deck=Markup(json.dumps(content, sort_keys=True).replace("<", "\\u003c")),  # noqa: S704
            question=question.text,
            help=question.help,
            middle=question.middle,
            shape=shape,
            count=len(pairs),
        )
        + "\n"
    )


def _png(picture: Picture) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
