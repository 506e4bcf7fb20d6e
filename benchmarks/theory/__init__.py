"""What `rex_core.theory` says and what is then measured: `python -m benchmarks.theory`."""
