"""Measured figures of blobdir beside its peers, in one run. ``python -m benchmarks run``."""
