"""Run a network over many images."""
