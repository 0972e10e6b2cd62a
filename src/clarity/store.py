"""The MLflow store: where it lies, made once under a lock, mended after a move."""
