"""The parts of `python -m benchmarks.invoicing`."""
