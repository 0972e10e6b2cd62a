"""Reconstruction, anomaly detection, latent space, samples, cost."""
