"""Inference on many images."""
