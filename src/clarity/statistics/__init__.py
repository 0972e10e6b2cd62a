"""Intervals, paired differences and the rules of the verdicts."""

from clarity.statistics.auroc import (
    auroc_difference_interval,
    auroc_interval,
    placement_values,
)
from clarity.statistics.bootstrap import bootstrap_means, simultaneous_bands
from clarity.statistics.gate import GateDecision, gate_decision, people_needed, spent_confidence
from clarity.statistics.interval import POPULATION, THIS_TRAINING, Interval, Scale
from clarity.statistics.kinds import kinds_area, kinds_difference_interval, kinds_interval
from clarity.statistics.means import (
    difference_interval,
    log_ratio_interval,
    mean_interval,
    slope_interval,
)
from clarity.statistics.ranking import ranking_interval
from clarity.statistics.trainings import (
    training_difference_interval,
    training_interval,
    training_log_ratio_interval,
)
from clarity.statistics.verdicts import Need, Verdict, adjust, settles, verdict

__all__ = [
    "POPULATION",
    "THIS_TRAINING",
    "GateDecision",
    "Interval",
    "Need",
    "Scale",
    "Verdict",
    "adjust",
    "auroc_difference_interval",
    "auroc_interval",
    "bootstrap_means",
    "difference_interval",
    "gate_decision",
    "kinds_area",
    "kinds_difference_interval",
    "kinds_interval",
    "log_ratio_interval",
    "mean_interval",
    "people_needed",
    "placement_values",
    "ranking_interval",
    "settles",
    "simultaneous_bands",
    "slope_interval",
    "spent_confidence",
    "training_difference_interval",
    "training_interval",
    "training_log_ratio_interval",
    "verdict",
]
