"""Checked, cropped, split by person, packed: data/processed."""
