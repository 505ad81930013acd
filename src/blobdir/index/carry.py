"""An index as one file, to lie beside a project in a bucket: a tar of the folder that `save_index` writes.

One file is one request, where a folder would be seven.
"""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import numpy as np

from blobdir.errors import IndexFormatError
from blobdir.index.place import FILES, HEADER_FILE
from blobdir.index.store import header_bytes, parse_index
from blobdir.index.table import COLUMNS

if TYPE_CHECKING:
    from blobdir.index.table import Index


def index_to_bytes(index: Index) -> bytes:
    """An index as a tar. The same index gives the same bytes."""
    result = io.BytesIO()
    with tarfile.open(fileobj=result, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(FILES):
            data = _file(index, name)
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))
    return result.getvalue()


def _file(index: Index, name: str) -> bytes:
    if name == HEADER_FILE:
        return header_bytes(index)
    file = io.BytesIO()
    np.save(file, getattr(index, name.removesuffix(".npy")), allow_pickle=False)
    return file.getvalue()


def index_from_bytes(data: bytes) -> Index:
    """Open an index that came as a tar.

    Raises
    ------
    IndexFormatError
        It is damaged, or holds what an index doesn't.
    """
    parts: dict[str, memoryview] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for member in tar:
                if member.name not in FILES or not member.isreg():
                    raise IndexFormatError(f"the index beside the project holds {member.name!r}; build it again")
                end = member.offset_data + member.size
                if end > len(data):
                    raise IndexFormatError("the index beside the project is cut off; build it again")
                parts[member.name] = memoryview(data)[member.offset_data : end]
    except tarfile.TarError as error:
        raise IndexFormatError(f"the index beside the project is damaged: {error}; build it again") from error
    if missing := sorted(FILES - parts.keys()):
        raise IndexFormatError(f"the index beside the project lacks {missing[0]}; build it again")
    columns = {column: parts[f"{column}.npy"] for column in COLUMNS}
    return parse_index(bytes(parts[HEADER_FILE]), columns, "the index beside the project")
