"""The fixtures of these tests."""

from folder_bucket import bucket, small

__all__ = ["bucket", "small"]
