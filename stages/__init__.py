"""One script a stage; dvc.yaml wires them."""
