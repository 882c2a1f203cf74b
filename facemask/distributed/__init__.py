"""Work past one process."""
