"""Data that the networks are trained on."""
