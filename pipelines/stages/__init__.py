"""DVC's stages: which are stale, one run, several in the graph's order. No Prefect."""
