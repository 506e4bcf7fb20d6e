"""How exact schedules are, and how they behave: `python -m benchmarks.accuracy`."""
