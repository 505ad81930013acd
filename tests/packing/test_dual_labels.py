"""Labels in blobs that may be no copies of those in `ann/`: they stay, and are named; the others are renewed."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
import webdataset

from blobdir.offsets import offsets_of_tar, write_offsets
from blobdir.packing import PackOptions, pack, relabel, relabelling
from blobdir.verifying import verify


def label(text: str) -> bytes:
    return json.dumps({"description": text, "tags": [], "size": {"height": 1, "width": 1}, "objects": []}).encode()


def project_of(root: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    """A project of one blob, whose images `*.jpg` have annotations."""
    for folder in ("blob", "train/ann"):
        (root / folder).mkdir(parents=True)
    (root / "meta.json").write_text('{"classes": [], "tags": [], "projectType": "images"}')
    with tarfile.open(root / "blob" / "x.tar", "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.LNKTYPE, target
            tar.addfile(info)
    table = offsets_of_tar(root / "blob" / "x.tar", lambda name: name.endswith(".jpg"))
    write_offsets(root / "train" / "x_offsets.pkl", table.entries())
    for name in members:
        if name.endswith(".jpg"):
            (root / "train" / "ann" / f"{name}.json").write_bytes(label(f"mine of {name}"))
    return root


def members_of(project: Path) -> dict[str, bytes]:
    (path,) = (project / "blob").glob("*.tar")
    with tarfile.open(path) as tar:
        return {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]


FOREIGN, COPY, STALE = b'{"caption": "only here"}', label("mine of b.jpg"), label("stale")
IMAGE = b"\xff\xd8\xffb"


@pytest.mark.parametrize("layout", ["webdataset", "files"])
@pytest.mark.parametrize("small", [None, FOREIGN, COPY, STALE])
@pytest.mark.parametrize("large", [FOREIGN, COPY, STALE])
def test_labels_are_judged_alike_in_capitals(
    tmp_path: Path, small: bytes | None, large: bytes, layout: relabelling.Layout
) -> None:
    members = {"b.jpg": IMAGE, **({"b.json": small} if small else {}), "b.JSON": large}
    project = project_of(tmp_path / "p", members)
    report = relabel(project, layout=layout)
    kept = {name: data for name, data in members.items() if data == FOREIGN}
    own = {"b.json": COPY} if layout == "webdataset" and not kept else {}
    assert members_of(project) == {"b.jpg": IMAGE, **kept, **own}
    said = [one.message for one in report.problems if one.code == "label-kept"]
    assert sorted(one.partition(" stays")[0] for one in said) == sorted(kept)
    if len(kept) < 2:
        (sample,) = webdataset.WebDataset(next(map(str, (project / "blob").glob("*.tar"))), shardshuffle=False)
        assert sample["jpg"] == IMAGE and sample.get("json") == {**kept, **own}.get(
            "b.JSON", {**kept, **own}.get("b.json")
        )
    assert not [one for one in verify(project).findings if one.code == "label-stale" and layout == "webdataset"]


@pytest.mark.parametrize("layout", ["webdataset", "files"])
@pytest.mark.parametrize("is_dry", [True, False])
def test_labels_that_go_arent_said_to_be_kept(tmp_path: Path, layout: relabelling.Layout, *, is_dry: bool) -> None:
    source = tmp_path / "source" / "train"
    for folder in ("img", "ann"):
        (source / folder).mkdir(parents=True)
    for i in range(5):
        (source / "img" / f"i.{i}.jpg").write_bytes(b"\xff\xd8\xff%d" % i)
        (source / "ann" / f"i.{i}.jpg.json").write_bytes(label(str(i)))
    (source.parent / "meta.json").write_text('{"classes": [], "tags": [], "projectType": "images"}')
    pack(source.parent, tmp_path / "dual", PackOptions(layout="webdataset"))
    report = relabel(tmp_path / "dual", layout=layout, dry_run=is_dry)
    assert [one.message for one in report.problems if one.code == "hidden" and layout == "files"] == []
    assert any(name.endswith(".json") for name in members_of(tmp_path / "dual")) is (layout == "webdataset" or is_dry)


@pytest.mark.parametrize("is_dry", [True, False])
def test_files_that_stay_are_said_to_be_kept(tmp_path: Path, *, is_dry: bool) -> None:
    members = {"b.jpg": IMAGE, "b.json": STALE, "b.txt": b"text", "b.cls": b"3"}
    report = relabel(project_of(tmp_path / "p", members), layout="files", dry_run=is_dry)
    (said,) = (one.message for one in report.problems if one.code == "hidden")
    assert "2 files of images that no offsets name: 'b.txt', 'b.cls'" in said


@pytest.mark.parametrize(("old", "layout", "is_said"), [
    (STALE, "webdataset", True),
    (STALE, "files", True),
    (COPY, "webdataset", False),
    (COPY, "files", True),
])  # fmt: skip
@pytest.mark.parametrize("way", ["last", "before", "copy"])
def test_what_else_has_a_label_that_goes_is_named(
    tmp_path: Path, old: bytes, layout: relabelling.Layout, way: str, *, is_said: bool
) -> None:
    members = {"b.jpg": IMAGE, "b.json": old, **({"b.txt": old} if way == "copy" else {})}
    links = {"last": {"b.txt": "b.json"}, "before": {"b.txt": "b.json", "b.cls": "b.jpg"}, "copy": {}}[way]
    project = project_of(tmp_path / "p", members, links)
    report = relabel(project, layout=layout)
    assert members_of(project)["b.txt"] == old
    said = [one.message for one in report.problems if one.code == "label-kept"]
    assert ["b.txt stays as it is, and has what b.json had" in one for one in said] == [True] * is_said
