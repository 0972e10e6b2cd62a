"""Everything that speaks to MLflow: live mirror, publish."""
