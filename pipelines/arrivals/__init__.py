"""Pictures that arrive: taken in batches to be scored, adopted as training images. No Prefect."""
