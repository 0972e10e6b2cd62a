"""Intervals, paired differences and the rules of the verdicts."""
