"""Operations on experiments: DVC, MLflow, the study, promotion, differences, verification."""
