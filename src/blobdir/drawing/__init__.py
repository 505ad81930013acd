"""Looking at a blob project: numbers and pictures."""

from __future__ import annotations

from blobdir.drawing.preview import draw_preview
from blobdir.drawing.stats import Stats, collect_stats, draw_stats

__all__ = ["Stats", "collect_stats", "draw_preview", "draw_stats"]
