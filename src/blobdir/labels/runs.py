"""What programs write while they train into the folder that they are started in, often that of the data set: ``runs/``.

There are pictures of how training went, images with boxes drawn into them, and labels that are a program's guess. They
look like images and labels of the set, and are none: whoever means them packs that folder by itself.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_RUNS: Final = re.compile(
    r"(?:.*/)?runs/(?:detect|segment|pose|obb|classify|track)(?=/[^/]+/)|(?:.*/)?runs/(?:train|val|predict[^/]*)(?=/exp\d*/)"
    r"|(?:.*/)?runs/(?:predict|train-seg|val-seg|predict-seg|train-cls|val-cls|predict-cls)(?=/[^/]+/)"
)
"""Folders of Ultralytics' runs: a task and a run in it, as now, or as YOLOv5 has them."""
_LOGS: Final = re.compile(
    r"(?:.*/)?wandb(?=/(?:(?:offline-)?run-\d|latest-run/|debug))|(?:.*/)?mlruns(?=/(?:\d+/|models/|\.trash/))"
    r"|(?:.*/)?(?:lightning_logs|tb_logs)(?=/version_\d+/)"
)
"""Folders of those that keep a log of each run: Weights & Biases, MLflow, Lightning."""
_NAMES: Final = "runs/", "wandb/", "_logs/"


def of_runs(paths: Iterable[str]) -> dict[str, str]:
    """Files of runs in a data set -> the folder of their task."""
    found = ((path, _RUNS.match(path) or _LOGS.match(path)) for path in paths if any(one in path for one in _NAMES))
    return {path: run[0] for path, run in found if run}


def places_of(runs: dict[str, str]) -> Counter[str]:
    """The folders of runs, and how many files are in each."""
    return Counter(runs.values())
