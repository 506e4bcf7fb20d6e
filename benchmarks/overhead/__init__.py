"""What a schedule costs, as ratios of one interleaved run: `python -m benchmarks.overhead`."""

import os

# Before Keras is imported: it would take TensorFlow.
os.environ.setdefault("KERAS_BACKEND", "jax")
