"""From a source of images to ``data/raw``: packed as they came, checked later."""
