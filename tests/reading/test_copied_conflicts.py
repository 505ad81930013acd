"""What opening reads of blobs counts in a copy of the project: contents that decided a conflict, and headers."""

import json
import os
import subprocess
import tarfile
import time

import pytest
from blob_builder import Builder, write_tar

from blobdir import open_project
from blobdir.cli.app import run
from blobdir.discovery import DiscoveryOptions, deciding, inputs
from blobdir.opening import BESIDE, OpenOptions, open_tree

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


def copied(root, name="copy"):
    copy = root.with_name(name)
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


LONG = "n" * 150 + "-{}.jpg"
BLOBS = {
    "one blob": {f"{i}b.jpg": b"%d" % i * 300 for i in range(5)},
    "long names": {LONG.format(i): b"%d" % i * 300 for i in range(5)},
    "one name twice, one file": {"0.jpg": SAME, "1b.jpg": b"1", "4.jpg": SAME, "6b.jpg": b"6", "9.jpg": SAME},
    "one name twice, a conflict": {"0.jpg": ELSE, "1b.jpg": b"1", "4.jpg": ELSE, "6b.jpg": b"6", "9.jpg": ELSE},
}
"""Of the second blob; the first one has three of the names as well."""


def tree_of(root, on_conflict, index):
    return open_tree(root, options=OpenOptions(DiscoveryOptions(on_conflict=on_conflict), index=index))


def is_judged_anew(root, builds, place, on_conflict="error"):
    """Whether a copy is read with the index beside it, but not if the second blob has another byte at a place."""
    tree_of(root, on_conflict, str(root / BESIDE))
    builds.clear()
    true, changed = copied(root), copied(root, "changed")
    there, here = (tree_of(folder, on_conflict, "auto").index.header.defects for folder in (true, root))
    is_used = there == here and builds == []
    blob = changed / "blob/b.tar"
    data, before = bytearray(blob.read_bytes()), blob.stat()
    data[place] ^= 1
    blob.write_bytes(data)
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    found, expected = (tree_of(changed, on_conflict, index).index.header.defects for index in ("auto", "none"))
    assert expected != here
    return is_used and len(builds) == 2 and found == expected


def settled(root):
    for path in [*root.rglob("*"), root]:
        os.utime(path, (1_700_000_000, 1_700_000_000))
    time.sleep(0.05)


@pytest.mark.parametrize("on_conflict", ["error", "skip", "replace", "rename"])
@pytest.mark.parametrize("which", [0, 2, 4])
@pytest.mark.parametrize("members", BLOBS)
def test_headers_that_opening_looks_at_count_in_a_copy(tmp_path, builds, members, which, on_conflict):
    """Whether their members are shown or not."""
    made = Builder(tmp_path / "p")
    made.blob("train", "a", {"0.jpg": SAME, "4.jpg": SAME, "9.jpg": SAME})
    start = made.blob("train", "b", BLOBS[members])[which][1]
    settled(made.root)
    assert is_judged_anew(made.root, builds, start - 512, on_conflict)


@pytest.mark.parametrize("which", [0, 2, 4])
@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_before_headers_count_in_a_copy(tmp_path, builds, kind, which):
    made = Builder(tmp_path / "p")
    entries = write_tar(made.root / "blob/b.tar", BLOBS["long names"], kind=kind)
    made.offsets("train", "b", entries)
    settled(made.root)
    name, start, _ = entries[which]
    place = (made.root / "blob/b.tar").read_bytes().rindex(name, 0, start - 512)
    assert is_judged_anew(made.root, builds, place + 120)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_hard_links_count_in_a_copy(tmp_path, builds, which):
    """Their headers lie anywhere."""
    made = Builder(tmp_path / "p")
    entries = made.tar("b", {f"{i}b.jpg": SAME for i in range(4)})
    with tarfile.open(made.root / "blob/b.tar", "a") as tar:
        for i in range(3):
            link = tarfile.TarInfo(f"link{i}.jpg")
            link.type, link.linkname = tarfile.LNKTYPE, f"{i}b.jpg"
            tar.addfile(link)
    made.offsets("train", "b", [(b"link%d.jpg" % i, *entries[i][1:]) for i in range(3)])
    settled(made.root)
    place = (made.root / "blob/b.tar").read_bytes().index(b"link%d.jpg" % which)
    assert is_judged_anew(made.root, builds, place)
