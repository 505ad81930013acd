"""An index as one file, to lie beside a project in a bucket: a tar of the folder that `save_index` writes.

One file is one request, where a folder would be seven.
"""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from blobdir.errors import IndexFormatError
from blobdir.index.store import HEADER_FILE, load_index, save_index
from blobdir.index.table import COLUMNS

if TYPE_CHECKING:
    from blobdir.index.table import Index

_NAMES = frozenset((HEADER_FILE, *(f"{column}.npy" for column in COLUMNS)))


def index_to_bytes(index: Index) -> bytes:
    """An index as a tar. The same index gives the same bytes."""
    with tempfile.TemporaryDirectory(prefix="blobdir-") as folder:
        save_index(index, Path(folder) / "index")
        result = io.BytesIO()
        with tarfile.open(fileobj=result, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for name in sorted(_NAMES):
                info = tarfile.TarInfo(name)
                data = (Path(folder) / "index" / name).read_bytes()
                info.size, info.mode = len(data), 0o644
                tar.addfile(info, io.BytesIO(data))
    return result.getvalue()


def index_from_bytes(data: bytes, folder: Path) -> Index:
    """Unpack an index into `folder` and open it there; one that is there already is replaced.

    Raises
    ------
    IndexFormatError
        It is damaged, or holds what an index doesn't.
    OSError
        The folder can't be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".carried-", dir=folder.parent))
    try:
        try:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
                for member in tar:
                    file = tar.extractfile(member) if member.name in _NAMES else None
                    if file is None:
                        raise IndexFormatError(f"the index beside the project holds {member.name!r}; build it again")
                    (temporary / member.name).write_bytes(file.read())
            index = load_index(temporary)
        except (tarfile.TarError, FileNotFoundError) as error:
            raise IndexFormatError(f"the index beside the project is damaged: {error}; build it again") from error
        save_index(index, folder)
        return load_index(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
