"""Looking at a blob project: numbers and pictures."""

from __future__ import annotations

from blobdir.drawing.charts import draw_stats
from blobdir.drawing.choosing import Choice
from blobdir.drawing.pictures import encoded, picture_format, refuse_own, write_bytes
from blobdir.drawing.preview import PreviewOptions, draw_preview, write_preview
from blobdir.drawing.stats import Stats, collect_stats

__all__ = [
    "Choice",
    "PreviewOptions",
    "Stats",
    "collect_stats",
    "draw_preview",
    "draw_stats",
    "encoded",
    "picture_format",
    "refuse_own",
    "write_bytes",
    "write_preview",
]
