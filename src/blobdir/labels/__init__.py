"""Labels in the formats of others, read and written: COCO, YOLO, Pascal VOC, CVAT, LabelMe, CreateML, CSV.

`model` is what all are read into; `formats` has a reader for each, `writers` one for each that is written; and
`supervisely` is the other side, annotations as blobdir's projects have them. Why no library does it:
``docs/decisions/0015-labels-of-others.md``.
"""

from __future__ import annotations

from blobdir.labels.detecting import detect
from blobdir.labels.formats import FORMATS
from blobdir.labels.model import LabelError

__all__ = ["FORMATS", "LabelError", "detect"]
