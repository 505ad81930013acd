"""Projects from a bucket to a folder and back: `fetch` and `push`."""

from __future__ import annotations

from blobdir.moving.fetching import FetchReport, fetch
from blobdir.moving.pushing import PushReport, push

__all__ = ["FetchReport", "PushReport", "fetch", "push"]
