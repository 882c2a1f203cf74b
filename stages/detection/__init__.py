"""The stages of detection/dvc.yaml, one script each, called as the others are."""
