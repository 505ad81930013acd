"""The formats that a project can be written in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blobdir.labels.writers.coco import CocoWriter
from blobdir.labels.writers.voc import VocWriter
from blobdir.labels.writers.yolo import YoloWriter

if TYPE_CHECKING:
    from blobdir.labels.writers.model import Writer

WRITERS: Final[dict[str, type[Writer]]] = {"coco": CocoWriter, "yolo": YoloWriter, "voc": VocWriter}
"""By name."""
