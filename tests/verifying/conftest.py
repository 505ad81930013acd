"""The fixture of the tests of planted faults."""

from verifying.planted import made

__all__ = ["made"]
