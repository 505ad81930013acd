"""The fixtures of these tests."""

from folder_bucket import bucket

__all__ = ["bucket"]
