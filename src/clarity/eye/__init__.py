"""Blind looks: pairs of pictures whose models nobody sees, and what the eyes that looked say."""
