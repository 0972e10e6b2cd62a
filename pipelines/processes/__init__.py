"""Processes that end with their starter: commands, Prefect's server, runs that were cut off."""
