"""What people call splits, normals and anomalies, in the names of folders and in tables."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable

from clarity.errors import ClarityError
from clarity.ingest.items import Role
from clarity.params import SYNTHETIC

#: By the folded name. ``train`` is what is divided, over the splits that a source does not bring.
SPLITS: dict[str, Role] = {
    "train": "pool",
    "training": "pool",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "gate": "gate",
    "test": "test",
    "testing": "test",
}
NORMAL = frozenset((
    "good", "ok", "okay", "io", "normal", "normals", "nominal", "pass", "passed", "healthy",
    "inlier", "inliers", "defect free", "no defect", "not defective", "non defective",
))  # fmt: skip
ANOMALOUS = frozenset((
    "bad", "ng", "nok", "ko", "nio", "not ok", "not good", "abnormal", "abnormals",
    "anomalous", "anomaly", "anomalies", "defect", "defects", "defective", "faulty", "fail",
    "failed", "outlier", "outliers",
))  # fmt: skip
#: Of a kind of anomaly: these mean something else where figures are listed by kind.
TAKEN = frozenset(("normal", "all", "low", "high", *SYNTHETIC))
LONGEST_KIND = 60


def folded(name: str) -> str:
    """A name without case, hyphens and underscores, by which it is looked up."""
    plain = unicodedata.normalize("NFC", name).casefold()
    return " ".join(re.split(r"[\s_-]+", plain)).strip()


def check_kinds(kinds: Iterable[str], where: str) -> None:
    """Refuse kinds of anomaly that figures and MLflow's metrics cannot be named by.

    Raises:
        ClarityError: one line that begins with ``where`` and names the kind.
    """
    known = set(kinds)
    for kind in sorted(known):
        if problem := unfit_kind(kind, known):
            raise ClarityError(f"{where}: {problem}")


def unfit_kind(kind: str, known: Collection[str]) -> str:
    """Why a kind of anomaly among ``known`` cannot bear that name; empty where it can."""
    stem = kind.removesuffix("_low").removesuffix("_high")
    if kind in TAKEN or (stem != kind and stem in known):
        problem = "means something else where figures are listed by kind"
    elif len(kind) > LONGEST_KIND:
        problem = f"is longer than {LONGEST_KIND} characters"
    elif not re.fullmatch(r"[\w.\- ]+", kind):
        problem = "holds more than letters, digits, dots, spaces, hyphens and underscores"
    else:
        return ""
    return f"{kind[:80]!r} as a kind of anomaly {problem}; rename it"
