"""The promotion gate, aliases, rollback, lineage."""
