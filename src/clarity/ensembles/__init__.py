"""Several trainings as one network: what it is, and the stage that makes and measures it."""
