"""Content of blobs that decided a conflict counts in a copy of the project, whatever became of the conflict."""

import json
import os
import subprocess
import time

import pytest
from blob_builder import Builder

from blobdir import open_project
from blobdir.cli.app import run
from blobdir.discovery import deciding, inputs
from blobdir.opening import BESIDE

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

SAME, ELSE = b"same" * 500, b"else" * 500


@pytest.fixture
def root(request, tmp_path):
    """A project with a name in two blobs; the second one's content is given."""
    made = Builder(tmp_path / "p")
    made.blob("train", "a", {"double.jpg": SAME, "1.jpg": b"1" * 2000})
    made.blob("train", "b", {"2.jpg": b"2" * 2000, "double.jpg": request.param, "3.jpg": b"3" * 2000})
    for path in [*made.root.rglob("*"), made.root]:
        os.utime(path, (1_700_000_000, 1_700_000_000))
    time.sleep(0.05)
    assert run(["index", "-q", "--beside", str(made.root)]) == 0
    return made.root


def rewritten(blob, old, new):
    before = blob.stat()
    blob.write_bytes(blob.read_bytes().replace(old, new))
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))


def copied(root):
    copy = root.with_name("copy")
    subprocess.run(["cp", "-a", root, copy], check=True)
    return copy


@pytest.mark.parametrize("blob", ["a", "b"])
@pytest.mark.parametrize("root", [SAME, ELSE], indirect=True, ids=["one file", "a conflict"])
def test_a_copy_with_other_bytes(root, builds, blob):
    old, new = (ELSE, SAME) if ELSE in (root / f"blob/{blob}.tar").read_bytes() else (SAME, ELSE)
    rewritten(root / f"blob/{blob}.tar", old, new)
    copy = copied(root)
    builds.clear()
    found, expected = (open_project(copy, index=index) for index in ("auto", "none"))
    assert len(builds) == 2
    assert [d.message for d in found.defects] == [d.message for d in expected.defects]


@pytest.mark.parametrize("most", [None, "MOST_RANGES", "MOST_BYTES"])
@pytest.mark.parametrize("root", [SAME, ELSE], indirect=True, ids=["one file", "a conflict"])
def test_a_copy_with_the_same_bytes(root, builds, most, monkeypatch):
    """With more ranges than are kept, a copy is listed."""
    if most:
        monkeypatch.setattr(deciding, most, 1)
        assert run(["index", "-q", "--beside", str(root)]) == 0
    copy = copied(root)
    builds.clear()
    assert open_project(copy)["train"].names == open_project(root)["train"].names
    assert len(builds) == bool(most)


@pytest.mark.parametrize(
    "digest",
    ["", ":", "0", "0:x", "0-:x", "5-1:x", "x-y:z", "0-1,:x", f"0-{10**12}:x", ",".join(["0-1"] * 9999) + ":x"],
)
@pytest.mark.parametrize("root", [SAME], indirect=True, ids=["one file"])
def test_any_digest(root, builds, digest):
    copy = copied(root)
    header = copy / BESIDE / "header.json"
    body = json.loads(header.read_bytes().rpartition(b"\n")[0].rpartition(b"\n")[0])
    compared = [then for then in body["header"]["inputs"] if then["role"] == deciding.COMPARED]
    assert len(compared) == 2
    compared[1]["digest"] = digest
    text = json.dumps(body, indent=1, sort_keys=True).encode()
    header.write_bytes(text + b"\n" + inputs.digest_of(text).encode() + b"\n")
    builds.clear()
    assert len(open_project(copy)["train"].names) == 4
    assert len(builds) == 1
