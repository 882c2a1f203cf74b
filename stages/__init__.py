"""One script a stage; dvc.yaml connects them."""
