"""What each look asks, word for word; docs/eye.md says why so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """What a page asks.

    Attributes:
        text: the question, its heading.
        help: one sentence more.
        middle: caption of the picture in the middle; empty where there is none.
    """

    text: str
    help: str
    middle: str = ""


QUESTIONS = {
    "reconstructions": Question(
        "Which of the two is the clearer picture of the one in the middle?",
        "Left and right are two attempts at the original in the middle.",
        "Original",
    ),
    "samples": Question(
        "Which of the two looks more like a real picture?",
        "Both are made up: neither has an original.",
    ),
    "sharpness": Question(
        "Which of the two is sharper?",
        "Both are made up: neither has an original.",
    ),
    "interpolations": Question(
        "Which column goes more smoothly from the upper picture to the lower one?",
        "Left and right are two ways from one original to the other; the originals are in the "
        "middle.",
        "Originals",
    ),
}
