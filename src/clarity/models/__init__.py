"""The networks: torch only, one file a family, no files of the pipeline but a model's own two."""
