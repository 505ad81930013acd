"""Makes the test cases importable that universal_pathlib ships in its source distribution but not in its wheel.

``scripts/test`` downloads that source distribution into the environment; the cases run as they are.
"""

import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest
import upath
from blob_builder import write_tar

import blobdir
from blobdir.offsets import write_offsets


def _upath_cases() -> Path:
    release = version("universal_pathlib")
    folder = Path(sys.prefix) / "judges"
    source = folder / f"universal_pathlib-{release}"
    archive = folder / f"universal_pathlib-{release}.tar.gz"
    if not source.exists():
        if not archive.exists():
            raise FileNotFoundError(f"{archive} is missing: scripts/test downloads it")
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    return source / "upath"


upath.__path__.append(str(_upath_cases()))


class Staged:
    """A blob project made from files in a staging folder: all of them members of one blob."""

    def __init__(self, root: Path) -> None:
        self.root = root / "project"
        self.staging = root / "staging"
        self.staging.mkdir()
        (self.root / "train").mkdir(parents=True)
        (self.root / "meta.json").write_text("{}")
        self.pack()

    def pack(self) -> None:
        """Write the blob anew from what is in the staging folder."""
        files = sorted(path for path in self.staging.rglob("*") if path.is_file())
        members = {path.relative_to(self.staging).as_posix(): path.read_bytes() for path in files}
        entries = write_tar(self.root / "blob/a.tar", members)
        named = [(name.encode(), start, end) for name, (_, start, end) in zip(members, entries, strict=True)]
        write_offsets(self.root / "train/a_offsets.pkl", named)


@pytest.fixture
def staged(tmp_path_factory):
    return Staged(tmp_path_factory.mktemp("staged"))


@pytest.fixture
def staged_fs(staged):
    return blobdir.BlobDirFileSystem(str(staged.root), index="none", skip_instance_cache=True)
