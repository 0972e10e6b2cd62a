"""The search for a recipe: what may change, one candidate's training, and what came of all."""
