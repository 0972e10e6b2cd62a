"""The networks: torch only, no I/O, one file a family."""
