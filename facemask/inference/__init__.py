"""Prediction, as `.[predict]` installs it: detect faces, classify them, draw and serve."""
