"""A registered model on new images: batch and served."""

from pathlib import Path


def pyfunc_model_path() -> Path:
    """The file that MLflow logs as a version's code."""
    return Path(__file__).with_name("pyfunc_model.py")
