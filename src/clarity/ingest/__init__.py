"""A source of images, packed as it came: data/raw."""
