"""Tars of WebDataset's samples, shown as a project shows images and annotations."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

import blobdir
from blobdir.cli.mounting import mount_options
from blobdir.cli.options import CommonOptions
from blobdir.discovery import tarsamples
from blobdir.discovery.tarsamples import decide, samples_of
from blobdir.errors import BlobdirWarning, ConflictError, UsageError
from blobdir.filesystem import BlobDirFileSystem
from blobdir.mounting.options import MountOptions, parse_options

Tar = Callable[..., Path]
COMMAND = str(Path(sys.executable).with_name("blobdir"))


def label(text: str) -> bytes:
    return json.dumps({"description": text, "size": {"height": 1, "width": 1}, "tags": [], "objects": []}).encode()


def jpeg(text: str) -> bytes:
    return b"\xff\xd8\xff" + text.encode()


MEMBERS = {
    "a.jpg": jpeg("a"),
    "a.json": label("a"),
    "a.cls": b"3",
    "b.jpg": jpeg("b"),
    "b.json": b'{"caption": "no annotation"}',
    "c.d.png": jpeg("c"),
    "c.json": label("c"),
    "two.jpg": jpeg("2"),
    "two.PNG": jpeg("22"),
    "two.json": label("2"),
    "cats/a.jpg": jpeg("cat"),
    "cats/a.json": label("cat"),
    "cats/deep/a.txt": b"text",
    "README": b"read me",
    ".hidden.jpg": jpeg("h"),
}
SHOWN = {
    "train/img/a.jpg": "a.jpg",
    "train/ann/a.jpg.json": "a.json",
    "train/parts/a.cls": "a.cls",
    "train/img/b.jpg": "b.jpg",
    "train/parts/b.json": "b.json",
    "train/parts/c.d.png": "c.d.png",
    "train/parts/c.json": "c.json",
    "train/img/two.jpg": "two.jpg",
    "train/img/two.PNG": "two.PNG",
    "train/ann/two.json": "two.json",
    "cats/img/a.jpg": "cats/a.jpg",
    "cats/ann/a.jpg.json": "cats/a.json",
    "cats/datasets/deep/parts/a.txt": "cats/deep/a.txt",
    "train/parts/README": "README",
    "train/parts/.hidden.jpg": ".hidden.jpg",
}


def opened(place: object, **options: Any) -> BlobDirFileSystem:
    return blobdir.open_project(place, **{"layout": "samples", **options}).filesystem  # type: ignore[arg-type]


def contents(fs: BlobDirFileSystem) -> dict[str, bytes]:
    return {path: fs.cat_file(path) for path in fs.find("")}


@pytest.fixture
def one(tar: Tar) -> Path:
    return tar("train-000001.tar", MEMBERS)


def test_each_part_has_its_place(one: Path) -> None:
    assert contents(opened(one)) == {path: MEMBERS[name] for path, name in SHOWN.items()}
    project = blobdir.open_project(one, layout="samples")
    assert sorted(project) == ["cats", "cats/deep", "train"]
    assert project["train"].names == ["a.jpg", "b.jpg", "two.PNG", "two.jpg"]
    assert project["train"].get_blob_img_bytes("a.jpg") == jpeg("a")
    assert project["train"].annotation("a.jpg")["description"] == "a"
    assert project["train"].annotation("two.jpg") == project["train"].annotation("two.PNG") == json.loads(label("2"))
    assert fsspec.filesystem("blobdir", fo=str(one), layout="samples").cat_file("cats/img/a.jpg") == jpeg("cat")


FOREIGN = b'{"caption": "of somebody"}'


@pytest.mark.parametrize(("parts", "annotation"), [
    ({"a.json": label("1"), "a.JSON": FOREIGN}, "a.json"),
    ({"a.JSON": label("1"), "a.json": FOREIGN}, "a.JSON"),
    ({"a.JSON": label("1"), "a.json": label("2")}, "a.json"),
    ({"a.JSON": label("1"), "a.Json": label("2")}, "a.JSON"),
    ({"a.JSON": FOREIGN, "a.json": FOREIGN + b" "}, ""),
])  # fmt: skip
@pytest.mark.parametrize("turned", [False, True])
def test_of_several_annotations_all_are_shown(tar: Tar, parts: dict[str, bytes], annotation: str, turned: bool) -> None:
    ordered = dict(sorted(parts.items(), reverse=turned))
    shown = contents(opened(tar("t-0.tar", {"a.jpg": jpeg("a"), **ordered})))
    if annotation == "a.JSON" and "a.Json" in parts:
        annotation = next(iter(ordered))
    places = {f"t/parts/{name}" if name != annotation else "t/ann/a.jpg.json": data for name, data in parts.items()}
    assert shown == {"t/img/a.jpg": jpeg("a"), **places}


def test_behind_a_backend(one: Path, tar: Tar) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/samples/train-0.tar", one.read_bytes())
    other = tar("val-0.tar", {name.replace("cats", "dogs"): data for name, data in MEMBERS.items()})
    memory.pipe_file("/samples/val-0.tar", other.read_bytes())
    for layout in ("samples", "auto"):
        shown = contents(opened("memory://samples/{train,val}-0.tar", layout=layout))
        assert {path: shown[path] for path in SHOWN} == {path: MEMBERS[name] for path, name in SHOWN.items()}
        assert shown["val/img/a.jpg"] == jpeg("a") and len(shown) == 2 * len(SHOWN)


def test_mounts_take_it() -> None:
    named = {"index": "auto", "layout": "files"}
    assert mount_options(CommonOptions(filesystem={**named, "layout": "samples"}), {}).discovery.layout == "samples"
    for word in ("samples", "auto", "files"):
        options = mount_options(CommonOptions(filesystem=named), parse_options(f"layout={word},on_conflict=skip"))
        assert MountOptions.from_json(options.to_json()).discovery.layout == word


def test_a_kept_index_is_of_one_layout(one: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert sorted(contents(opened(one, index=str(tmp_path / "index")))) == sorted(SHOWN)
        assert sorted(contents(opened(one, layout="files", index=str(tmp_path / "index")))) == sorted(MEMBERS)


@pytest.mark.parametrize(
    ("members", "layout"),
    [
        (MEMBERS, "samples"),
        ({"a.jpg": jpeg("a"), "b.jpg": jpeg("b")}, "files"),
        ({"a.jpg": jpeg("a"), "b.jpg": jpeg("b"), "c.jpg": jpeg("c"), "a.txt": b"notes", "README.md": b""}, "files"),
        ({"a.json": b"{}", "b.json": b"{}"}, "files"),
        ({"a.jpg": jpeg("a"), "b.png": jpeg("b"), "b.cls": b"1"}, "samples"),
    ],
)
def test_auto_takes_what_it_is_and_info_says_so(tar: Tar, members: dict[str, bytes], layout: str) -> None:
    place = tar("x-01.tar", members)
    assert contents(opened(place, layout="auto")) == contents(opened(place, layout=layout))
    said = subprocess.run(
        [COMMAND, "info", place, "--layout", "auto", "--json"], capture_output=True, check=True, timeout=60
    )
    assert json.loads(said.stdout)["layout"] == layout


def test_a_project_that_was_packed_so(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        for folder, data in (("img", jpeg(name)), ("ann", label(name))):
            place = tmp_path / "plain" / "train" / folder / (name if folder == "img" else f"{name}.json")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
    (tmp_path / "plain" / "meta.json").write_text('{"classes": [], "tags": []}')
    blobdir.pack(tmp_path / "plain", tmp_path / "dual", blobdir.PackOptions(layout="webdataset"))
    ours = contents(opened(tmp_path / "dual" / "blob" / "*.tar"))
    assert ours == {
        path: data for path, data in contents(opened(tmp_path / "dual", layout="files")).items() if "/" in path
    }
    (shard,) = (tmp_path / "dual" / "blob").glob("*.tar")
    for sample in webdataset.WebDataset(str(shard), shardshuffle=False):
        assert ours[f"train/img/{sample['__key__']}.jpg"] == sample["jpg"]
        assert ours[f"train/ann/{sample['__key__']}.jpg.json"] == sample["json"]


FIRST = {"a.jpg": jpeg("1"), "b.jpg": jpeg("same"), "b.json": label("same")}
SECOND = {"a.jpg": jpeg("2"), "a.json": label("2"), "b.jpg": jpeg("same"), "b.json": label("same"), "c.jpg": jpeg("c")}
SAME = {"s/img/b.jpg": jpeg("same"), "s/ann/b.jpg.json": label("same"), "s/img/c.jpg": jpeg("c")}


@pytest.mark.parametrize(
    ("on_conflict", "expected"),
    [
        ("skip", {"s/img/a.jpg": jpeg("1"), **SAME}),
        ("replace", {"s/img/a.jpg": jpeg("2"), "s/ann/a.jpg.json": label("2"), **SAME}),
        (
            "rename",
            {
                "s/img/a.jpg": jpeg("1"), "s/img/a_1.jpg": jpeg("2"), "s/ann/a_1.jpg.json": label("2"), **SAME,
                "s/img/b_1.jpg": jpeg("same"), "s/ann/b_1.jpg.json": label("same"),
            },
        ),
    ],
)  # fmt: skip
def test_samples_of_one_key_are_never_mixed(tar: Tar, tmp_path: Path, on_conflict: str, expected: Any) -> None:
    tar("s-0.tar", FIRST)
    tar("s-1.tar", SECOND)
    if on_conflict == "rename":
        assert contents(opened(tmp_path / "s-*.tar", on_conflict=on_conflict)) == expected
        return
    with pytest.warns(BlobdirWarning, match="left out 2 samples whose keys are in other tars, too"):
        assert contents(opened(tmp_path / "s-*.tar", on_conflict=on_conflict)) == expected


def test_a_key_with_other_parts_is_an_error(tar: Tar, tmp_path: Path) -> None:
    tar("s-0.tar", FIRST)
    tar("s-1.tar", SECOND)
    with pytest.warns(BlobdirWarning, match="s/a: is a sample in s-0.tar and, with other parts, in s-1.tar"):
        fs = opened(tmp_path / "s-*.tar")
    assert {path: fs.cat_file(path) for path in SAME} == SAME
    for path in ("s/img/a.jpg", "s/ann/a.jpg.json"):
        with pytest.raises(ConflictError, match="remove one, or open the tars with on_conflict"):
            fs.cat_file(path)


def test_what_has_no_place_is_said(tar: Tar, tmp_path: Path) -> None:
    place = tar("s-0.tar", {"a.jpg": jpeg("a"), "a.cls": b"1"}, {"b.jpg": "a.jpg"})
    with pytest.warns(BlobdirWarning, match="left out 1 symbolic link; layout=files shows them"):
        assert sorted(contents(opened(place))) == ["s/img/a.jpg", "s/parts/a.cls"]
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "meta.json").write_text("{}")
    with pytest.raises(UsageError, match="layout=samples is for tars"):
        opened(tmp_path / "project")
    with pytest.raises(UsageError, match="choose one of files, samples, auto"):
        opened(place, layout="webdataset")


KEYS = st.sampled_from(["a", "b", "a_1", "s/a", "s/t/a", ".h", "s/datasets/t/a"])
ENDS = st.sampled_from([".jpg", ".png", ".json", ".cls", ".seg.png", "", ".JPG"])
TARS = st.lists(
    st.lists(st.builds(lambda key, end: (key + end).encode(), KEYS, ENDS), unique=True, max_size=8), max_size=3
)


def keyed(samples: Any) -> list[bytes]:
    """Where the parts of samples with a key are shown."""
    return [place for sample in samples if sample.key for place, _ in sample.places()]


@given(TARS, st.sampled_from(["skip", "replace", "rename"]))
def test_every_file_is_shown_once_with_its_sample(tars: list[list[bytes]], on_conflict: Any) -> None:
    samples = [samples_of(paths, "s-0.tar") for paths in tars]
    for paths, of in zip(tars, samples, strict=True):
        assert sorted(number for sample in of for _, number in sample.places()) == list(range(len(paths)))
        assert len({place for sample in of for place, _ in sample.places()}) == len(paths)
    before = sum(len(keyed(of)) for of in samples)
    decide(samples, on_conflict)
    placed = [place for of in samples for place in keyed(of)]
    assert len(set(placed)) == len(placed)
    assert on_conflict != "rename" or len(placed) == before


@given(TARS, st.sampled_from(["skip", "replace", "rename", "error"]), st.integers(1, 3))
def test_hashes_that_are_the_same_change_nothing(tars: list[list[bytes]], on_conflict: Any, numbers: int) -> None:
    def shown() -> list[list[tuple[bytes, int]]]:
        samples = [samples_of(paths, "s-0.tar") for paths in tars]
        decide(samples, on_conflict)
        return [[place for sample in of for place in sample.places()] for of in samples]

    expected = shown()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tarsamples, "hash", lambda name: len(str(name)) % numbers, raising=False)
        assert shown() == expected


def test_millions_of_samples_take_little_memory() -> None:
    paths = [b"%012d.%b" % (i, end) for i in range(20_000) for end in (b"jpg", b"json")]
    tracemalloc.start()
    try:
        samples = samples_of(paths, "s-0.tar")
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(samples) == 20_000
    assert taken <= len(paths) * 40  # of these, 26 are the paths
