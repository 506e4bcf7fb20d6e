"""Settings that must stand before a framework is imported."""

import os

import hypothesis

os.environ.setdefault("KERAS_BACKEND", "jax")

hypothesis.settings.register_profile("default", deadline=None, derandomize=True)
hypothesis.settings.load_profile("default")
