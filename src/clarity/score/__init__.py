"""A registered model on new images: batch and served."""
