"""The flows. Importing one of these modules imports Prefect, which the commands do late."""
