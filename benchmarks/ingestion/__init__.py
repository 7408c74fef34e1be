"""The parts of benchmarks/ingest.py, each run in a process of its own: see child.py."""
