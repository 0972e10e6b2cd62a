"""From ``data/raw`` to ``data/processed``: checked, cropped, split by person, packed."""
