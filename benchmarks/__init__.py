"""Measurements of the library; each is run as ``python -m benchmarks.<name>``."""
