"""Which of several ready stages begins first: that with the longest way to the end behind it.

Begun last, a training of minutes would keep one core busy at the end and leave the others idle
(critical-path scheduling: Graham, SIAM J. Appl. Math. 17(2), 1969).
"""

from __future__ import annotations

from collections.abc import Sequence

from clarity.files import read_json
from clarity.layout import TIMINGS
from pipelines.stages.graph import Graph

#: Seconds that a stage of a model is taken to last which was never timed here: it may be the
#: longest.
UNKNOWN = 86400.0


def longest_first(graph: Graph, names: Sequence[str]) -> list[str]:
    """``names`` by what they and the longest way behind them took here last time, longest first.

    Of models that were never timed those listed last in params.yaml come first: sizes are listed
    from small to large.

    Args:
        graph: the stages.
        names: of some of them, in the graph's order.
    """
    behind = dict.fromkeys(names, 0.0)
    lasts: dict[str, float] = {}
    for name in reversed(names):
        lasts[name] = behind[name] + _seconds(name)
        for other in graph.upstream[name] & behind.keys():
            behind[other] = max(behind[other], lasts[name])
    return sorted(lasts, key=lasts.__getitem__, reverse=True)


def _seconds(name: str) -> float:
    """What a stage took here last time; nothing for one that is of no model."""
    stage, _, item = name.partition("@")
    if not item:
        return 0.0
    try:
        seconds = read_json(TIMINGS / f"{item}.json")[f"{stage}_seconds"]
    except (OSError, ValueError, KeyError, TypeError):
        return UNKNOWN
    return float(seconds) if isinstance(seconds, int | float) else UNKNOWN
