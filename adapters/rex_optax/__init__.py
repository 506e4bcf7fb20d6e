"""optax."""
