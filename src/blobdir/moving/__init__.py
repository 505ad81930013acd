"""Projects from a bucket to a folder and back: `fetch`, `push`, and `pack_to`, which keeps no copy."""

from __future__ import annotations

from blobdir.moving.fetching import fetch
from blobdir.moving.packed import pack_to
from blobdir.moving.pushing import push
from blobdir.moving.report import FetchReport, PushReport

__all__ = ["FetchReport", "PushReport", "fetch", "pack_to", "push"]
