"""What a schedule costs, as ratios of one interleaved run: `python -m benchmarks.overhead`."""
