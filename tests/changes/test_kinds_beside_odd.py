"""What lies in tars beside images whose names say too little: its owner isn't sure, so nobody takes it away."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
from blob_builder import Builder

from blobdir.packing import compact, relabel

CHANGES = {
    "compact": compact,
    "webdataset": lambda root, **options: relabel(root, layout="webdataset", **options),
    "files": lambda root, **options: relabel(root, layout="files", **options),
}
LABEL = {"description": "", "tags": [], "size": {"height": 1, "width": 1}, "objects": []}


def tar_of(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    places = {}
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            places[name] = (tar.offset + 512, tar.offset + 512 + len(data))
            tar.addfile(info, io.BytesIO(data))
    return places


def contents(root):
    found = {}
    for path in sorted((root / "blob").glob("*.tar")):
        with tarfile.open(path) as tar:
            found |= {member.name: tar.extractfile(member).read() for member in tar}
    return found


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["q.gif", "q", "q.heic", "sub/q.gif"])
def test_files_of_an_image_that_is_not_called_like_one_stay(tmp_path, change, name):
    made = Builder(tmp_path / "p")
    key = name.partition(".")[0]
    members = {name: b"GIF89a", f"{key}.json": b'{"only": "copy"}', f"{key}.txt": b"caption", "b.jpg": b"\xff\xd8\xff"}
    places = tar_of(made.root / "blob/s.tar", members | {"nobody.txt": b"of none" * 9000})
    entries = [(one.rpartition("/")[2].encode(), *places[one]) for one in (name, "b.jpg")]
    made.offsets("train", "s", entries)
    made.loose("train/ann/b.jpg.json", json.dumps(LABEL).encode())
    report = CHANGES[change](made.root)
    assert members.items() <= contents(made.root).items()
    assert any("kept" in problem.message and ".json" in problem.message for problem in report.problems)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("order", [("a.png", "a.jpg"), ("a.jpg", "a.png")])
@pytest.mark.parametrize("labelled", ["a.png", "a.jpg"])
def test_a_label_of_two_images_of_one_key_stays(tmp_path, change, order, labelled):
    made = Builder(tmp_path / "p")
    only = json.dumps(LABEL | {"description": "the only copy"}).encode()
    members = {name: b"image " + name.encode() for name in order} | {"a.json": only}
    places = tar_of(made.root / "blob/s.tar", members)
    made.offsets("train", "s", [(name.encode(), *places[name]) for name in order])
    made.loose(f"train/ann/{labelled}.json", json.dumps(LABEL).encode())
    CHANGES[change](made.root)
    assert only in contents(made.root).values()
