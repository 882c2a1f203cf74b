"""Training in several processes, with Keras on JAX."""
