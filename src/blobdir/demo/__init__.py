"""A small blob project that comes with the package, to try things on.

About sixty handwritten digits in two blobs and three datasets (``train``, ``train/hard``, ``test``), with rectangles,
masks and tags; some images of ``test`` are plain files. Written by the Supervisely SDK. Licence of the pictures:
``project/README.md``.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

__all__ = ["path"]


def path() -> Path:
    """Folder of the demo project.

    It belongs to the installed package: copy it before changing anything in it.

    Returns
    -------
    Path
        An existing folder on disk.

    Raises
    ------
    FileNotFoundError
        The package is imported from a zip archive, where there is no folder.
    """
    folder = files(__name__) / "project"
    if not isinstance(folder, Path):
        raise FileNotFoundError(f"the demo project isn't a folder on disk but {folder}: unpack the package")
    return folder
