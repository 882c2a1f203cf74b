"""Experiments: DVC, MLflow, studies, promotion, differences, verification."""
