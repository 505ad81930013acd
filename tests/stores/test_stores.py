"""Images and annotations as they are, into the stores of others and back: names, bytes and annotations are the same."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import fsspec
import lmdb
import pyarrow.parquet as pq
import pytest
import webdataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import blobdir
import blobdir.demo
from blobdir import converting
from blobdir.cli.app import run
from blobdir.converting import ConvertOptions, convert
from blobdir.errors import BusyError, PackError, SourceChangedError, UsageError
from blobdir.moving import push
from blobdir.moving.fetchplan import choose_datasets
from blobdir.offsets.names import unkeyed
from blobdir.packing import add_blob_file, pack
from blobdir.packing.newfolder import NewFolder
from blobdir.stores import STORES
from blobdir.stores.lmdb import LmdbWriter
from blobdir.stores.model import Sample, StorePlan
from blobdir.tarwriting.lmdbs import MARK
from blobdir.verifying import verify

META = {
    "classes": [
        {"title": "cat", "shape": "polygon", "color": "#123456", "hotkey": "c"},
        {"title": "unused", "shape": "any", "color": "#654321"},
    ],
    "tags": [{"name": "ripe", "value_type": "oneof_string", "values": ["a"], "color": "#FFFFFF"}],
    "projectType": "images",
}


def picture(seed, kind="PNG"):
    data = io.BytesIO()
    Image.frombytes("RGB", (8, 6), random.Random(seed).randbytes(144)).save(data, kind)
    return data.getvalue()


def label(text):
    value = {"description": text, "tags": [{"name": "ripe", "value": "a"}], "size": {"height": 6, "width": 8}}
    return json.dumps(value | {"objects": []}, indent=1).encode()


def regular(root, images):
    """A regular project of (dataset path, name) -> (bytes, annotation or None)."""
    for (dataset, name), (data, annotation) in images.items():
        for folder in ("img", "ann"):
            (root / dataset / folder).mkdir(parents=True, exist_ok=True)
        (root / dataset / "img" / name).write_bytes(data)
        if annotation is not None:
            (root / dataset / "ann" / f"{name}.json").write_bytes(annotation)
    (root / "meta.json").write_text(json.dumps(META))
    return root


def content_of(project, **options):
    """(Dataset, name) -> (bytes, annotation or None)."""
    opened = blobdir.open_project(project, **options)
    found = {}
    for one in opened.values():
        for part in one.annotation_files(one.names):
            for name, _, data, fault in part:
                assert not fault
                found[one.name, name] = one.get_blob_img_bytes(name), data
    return found


def of_webdataset(folder):
    """What `webdataset` finds: a dataset's name is that of its tars."""
    found = {}
    for tar in sorted(folder.glob("*.tar")):
        for sample in webdataset.WebDataset(str(tar), shardshuffle=False, empty_check=False):
            (kind,) = (key for key in sample if key in ("jpg", "png", "webp"))
            name = os.fsdecode(unkeyed(os.fsencode(f"{sample['__key__']}.{kind}"))).rpartition("/")[2]
            key = tar.name.rpartition("-")[0], name
            assert key not in found
            found[key] = sample[kind], sample.get("json")
    return found


def of_lmdb(folder):
    """What LMDB has, by its own library: the folder of a key is the dataset."""
    with lmdb.open(str(folder), readonly=True, lock=False) as env, env.begin() as txn:
        pairs = dict(txn.cursor())
    pairs.pop(b"meta.json", None)
    pairs.pop(MARK)
    labels = {key for key in pairs if key.endswith(b".json") and key[:-5] in pairs}
    images = {key: value for key, value in pairs.items() if key not in labels}
    found = {}
    for key, value in images.items():
        dataset, _, name = key.decode().rpartition("/")
        found[dataset, name] = value, pairs.get(key + b".json")
    return found


def of_parquet(folder):
    found = {}
    for path in sorted(folder.glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            annotation = row["annotation"]
            key = row["dataset"], row["image"]["path"]
            assert key not in found
            found[key] = row["image"]["bytes"], None if annotation is None else annotation.encode()
    return found


READ = {"webdataset": of_webdataset, "lmdb": of_lmdb, "parquet": of_parquet}


def slugged(content):
    return {(dataset.replace("/", "-"), name): value for (dataset, name), value in content.items()}


IMAGES = {
    ("train", "a.jpg"): (picture(1, "JPEG"), label("one")),
    ("train", "a.png"): (picture(2), label("two")),
    ("train", "IMG.2024.jpg"): (picture(3), label("three")),
    ("train", "IMG.2025.jpg"): (picture(4), label("ü")),
    ("val", "a.jpg"): (picture(5), label("of val")),
    ("train/datasets/hard", "100%25.webp"): (picture(6, "WEBP"), label("")),
}


@pytest.fixture
def project(tmp_path):
    assert pack(regular(tmp_path / "regular", IMAGES), tmp_path / "p").complete
    return tmp_path / "p"


@pytest.mark.parametrize("kind", ["blobs", "plain files", "remote"])
@pytest.mark.parametrize("to", READ)
def test_its_own_library_has_the_same(tmp_path, project, to, kind):
    source = {"blobs": project, "plain files": tmp_path / "regular", "remote": f"memory://st-{to}-{os.getpid()}/p"}[
        kind
    ]
    if kind == "remote":
        push(project, source)
    report = convert(source, tmp_path / "o", ConvertOptions(to))
    assert report.complete and (report.images, report.annotations) == (6, 6)
    expected = content_of(project)
    assert READ[to](tmp_path / "o") == (slugged(expected) if to == "webdataset" else expected)
    assert {path.suffix for path in (tmp_path / "o").iterdir()} <= {".tar", ".json", ".mdb", ".parquet"}
    assert report.files == len(list((tmp_path / "o").iterdir()))


def test_of_lmdb_a_project_is_made_again(tmp_path, project):
    convert(project, tmp_path / "o", ConvertOptions("lmdb"))
    report = pack(f"lmdb:{tmp_path}/o", tmp_path / "back")
    assert report.complete and not report.problems
    assert content_of(tmp_path / "back") == content_of(project)
    assert blobdir.open_project(tmp_path / "back").meta == META
    assert not verify(tmp_path / "back").findings


def test_of_shards_samples_are_shown_and_packed(tmp_path, project):
    plain = {key: value for key, value in IMAGES.items() if key[1] != "a.png"}  # which is in a folder of its own there
    convert(regular(tmp_path / "plain", plain), tmp_path / "o", ConvertOptions("webdataset"))
    shown = content_of(f"{tmp_path}/o/*.tar", layout="samples")
    there = {(dataset, os.fsdecode(unkeyed(os.fsencode(name)))): value for (dataset, name), value in shown.items()}
    assert there == slugged(content_of(tmp_path / "plain"))
    assert json.loads((tmp_path / "o" / "meta.json").read_bytes()) == META


def test_parquet_says_what_hugging_face_wants_to_know(tmp_path, project):
    convert(project, tmp_path / "o", ConvertOptions("parquet"))
    metadata = pq.read_schema(tmp_path / "o" / "train-000000.parquet").metadata
    features = json.loads(metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert json.loads(metadata[b"supervisely_meta"]) == META


@pytest.mark.parametrize("to", ["webdataset", "parquet"])
def test_files_have_a_size(tmp_path, to):
    images = {("t", f"{i:03}.png"): (picture(i), label(str(i))) for i in range(40)}
    source = regular(tmp_path / "regular", images)
    for name, options in (("few", {"shard_images": 7}), ("small", {"shard_bytes": 3000}), ("one", {"shard_bytes": 1})):
        report = convert(source, tmp_path / name, ConvertOptions(to, **options))
        assert READ[to](tmp_path / name) == content_of(source)
        files = [path for path in (tmp_path / name).iterdir() if path.suffix != ".json"]
        assert len(files) == {"few": 6, "one": 40}.get(name, len(files)) > 4
        assert report.files == len(list((tmp_path / name).iterdir()))
        if name == "small" and to == "webdataset":
            assert max(path.stat().st_size for path in files) <= 10240


@pytest.mark.parametrize("to", READ)
def test_what_is_missing_is_named(tmp_path, project, to):
    (project / "train" / "ann" / "a.jpg.json").unlink()
    (project / "val" / "ann" / "unused.json").write_bytes(label("of none"))
    blob = next((project / "blob").glob("val*.tar"))
    report = convert(project, tmp_path / "o", ConvertOptions(to))
    assert {problem.code for problem in report.problems} == {"no-annotation", "label-image"}
    found = READ[to](tmp_path / "o")
    assert found["train", "a.jpg"] == (IMAGES["train", "a.jpg"][0], None)
    os.truncate(blob, 700)
    assert run(["convert", str(project), str(tmp_path / "cut"), "--to", to, "-q"]) in (6, 7)


@pytest.mark.parametrize("to", READ)
def test_odd_names(tmp_path, to):
    bad = os.fsdecode(b"\xff.png")
    images = {("t", name): (picture(i), label(name[:1])) for i, name in enumerate(("n" * 240 + ".png", "x y.png"))}
    images["t", bad] = picture(9), label("bad")
    report = convert(regular(tmp_path / "r", images), tmp_path / "o", ConvertOptions(to))
    if to == "parquet":
        assert [problem.code for problem in report.problems] == ["name"]
        assert report.images == report.annotations == 2
        assert set(of_parquet(tmp_path / "o").values()) == {images[key] for key in images if key[1] != bad}
    elif to == "webdataset":
        assert report.complete and of_webdataset(tmp_path / "o") == content_of(tmp_path / "r")
    else:
        assert report.complete
        pack(f"lmdb:{tmp_path}/o", tmp_path / "back")
        assert content_of(tmp_path / "back") == content_of(tmp_path / "r")


def test_a_key_that_is_too_long_for_lmdb_is_named(tmp_path):
    dataset = "/datasets/".join("d" * 200 for _ in range(2))
    images = {(dataset, "n" * 150 + ".png"): (picture(1), label("")), ("t", "a.png"): (picture(2), label(""))}
    report = convert(regular(tmp_path / "r", images), tmp_path / "o", ConvertOptions("lmdb"))
    assert [problem.code for problem in report.problems] == ["name"]
    assert set(of_lmdb(tmp_path / "o")) == {("t", "a.png")}
    assert (report.images, report.annotations) == (1, 1)


def test_a_key_of_two_images_in_lmdb_is_named_and_neither_is_lost(tmp_path):
    images = {("t/datasets/a", "b.png"): (picture(2), label("other")), ("t", "c.png"): (picture(3), label("c"))}
    pack(regular(tmp_path / "r", images), tmp_path / "p")
    with fsspec.filesystem("blobdir", fo=str(tmp_path / "p"), skip_instance_cache=True).transaction as files:
        files.fs.pipe("t/img/a/b.png", picture(1))
    expected = content_of(tmp_path / "p")
    assert len(expected) == 3
    report = convert(tmp_path / "p", tmp_path / "o", ConvertOptions("lmdb"))
    assert (report.complete, report.images, report.annotations) == (False, 2, 2)
    assert [problem.code for problem in report.problems if problem.costs] == ["name"]
    assert set(of_lmdb(tmp_path / "o")) == {("t", "c.png"), ("t/a", "b.png")}
    assert convert(tmp_path / "p", tmp_path / "q", ConvertOptions("parquet")).complete
    assert of_parquet(tmp_path / "q") == expected


CLASHES = {
    "first": ({("t", "a/b.png"): None, ("t/datasets/a", "b.png"): label("of t/a")}, 1),
    "second": ({("t", "a/b.png"): label("of t"), ("t/datasets/a", "b.png"): None}, 1),
    "both": ({("t", "a/b.png"): label("of t"), ("t/datasets/a", "b.png"): label("of t/a")}, 1),
    "an annotation's": ({("t", "a.png"): None, ("t", "a.png.json.png"): label("fine")}, 2),
}


def regular_in_folders(root, images):
    for dataset, name in images:
        for folder in ("img", "ann"):
            (root / dataset / folder / name).parent.mkdir(parents=True, exist_ok=True)
    return regular(root, images)


@pytest.mark.parametrize("to", READ)
@pytest.mark.parametrize("kind", CLASHES)
def test_an_annotation_is_written_with_its_image_or_not_at_all(tmp_path, kind, to):
    labels, count = CLASHES[kind]
    images = {key: (picture(i), text) for i, (key, text) in enumerate(labels.items())}
    expected = content_of(regular_in_folders(tmp_path / "r", images))
    report = convert(tmp_path / "r", tmp_path / "o", ConvertOptions(to))
    shown = list((of_webdataset if to == "webdataset" else READ[to])(tmp_path / "o").values())
    assert all(pair in expected.values() for pair in shown)
    assert report.images == len(shown) == (count if to == "lmdb" else 2)
    assert report.annotations == sum(text is not None for _, text in shown)
    assert report.complete == (len(shown) == 2)


@pytest.mark.parametrize("first", ["a.png", "a.png.json"])
def test_an_image_that_is_called_like_an_annotation_in_lmdb_is_refused_or_the_other_is(tmp_path, first):
    names = [first, *({"a.png", "a.png.json"} - {first})]
    wrong: list[str] = []
    with NewFolder(tmp_path / "o", ".converting") as folder:
        plan = StorePlan(folder.made, lambda _, path, __: wrong.append(path), b"", ["t"], 9, 0, 0)
        with closing(LmdbWriter(plan)) as writer:
            writer.begin("t", "t", names)
            for name in names:
                writer.add([Sample(name, name.encode(), None)])
            writer.finish()
        folder.publish()
    assert of_lmdb(tmp_path / "o") == {("t", first): (first.encode(), None)}
    assert wrong == [f"t/{names[1]}"] and plan.images == 1


@pytest.mark.parametrize("is_annotated", [True, False])
def test_datasets_come_back_of_lmdb_as_they_were(tmp_path, is_annotated):
    names = [("t", "a.png"), ("t/datasets/hard", "b.png"), ("t/datasets/hard/datasets/x", "a.png"), ("u", "sub/c.png")]
    images = {key: (picture(i), label("") if is_annotated else None) for i, key in enumerate(names)}
    convert(regular_in_folders(tmp_path / "r", images), tmp_path / "o", ConvertOptions("lmdb"))
    report = pack(f"lmdb:{tmp_path}/o", tmp_path / "back")
    assert {key: data for key, (data, _) in content_of(tmp_path / "back").items()} == {
        ("t", "a.png"): picture(0),
        ("t/hard", "b.png"): picture(1),
        ("t/hard/x", "a.png"): picture(2),
        ("u", "sub_c.png"): picture(3),
    }
    assert [(problem.code, problem.path) for problem in report.problems] == [("renamed", "u/sub/c.png")]
    opened = blobdir.open_project(tmp_path / "back")
    tags = [tag["name"] for one in opened.values() for name in one.names for tag in one.annotation(name)["tags"]]
    assert tags == ["ripe"] * 4 * is_annotated


def test_what_a_project_calls_an_image_comes_back_of_lmdb(tmp_path):
    images = {("t", f"{i}.png"): (data, label("")) for i, data in enumerate((b"", b"a text", b"{}", b"\x80\4]"))}
    convert(regular(tmp_path / "r", images), tmp_path / "o", ConvertOptions("lmdb"))
    pack(f"lmdb:{tmp_path}/o", tmp_path / "back")
    assert content_of(tmp_path / "back") == images


FORMATS = [*STORES, "coco", "yolo", "voc"]


@pytest.mark.parametrize("to", FORMATS)
def test_a_dataset_that_is_named_twice_comes_once(tmp_path, project, to):
    asked = ("train/hard", "train/datasets/hard", "train/hard")
    report = convert(project, tmp_path / "o", ConvertOptions(to, datasets=asked))
    assert report.images == 1 and not [problem for problem in report.problems if problem.costs]


def test_a_dataset_that_is_named_twice_is_fetched_once():
    assert choose_datasets(["t/datasets/a", "u"], ["t/a", "u", "t/datasets/a"]) == ["t/datasets/a", "u"]


@pytest.mark.parametrize("target", ["nowhere.png", "/etc/hostname"])
@pytest.mark.parametrize("to", FORMATS)
def test_a_link_that_leads_nowhere_costs_what_it_stands_for(tmp_path, to, target):
    images = {("t", f"{name}.png"): (picture(i), label(name)) for i, name in enumerate("abc")}
    folder = regular(tmp_path / "r", images) / "t"
    for path in ("img/b.png", "ann/c.png.json"):
        (folder / path).unlink()
        (folder / path).symlink_to(target)
    assert run(["convert", str(tmp_path / "r"), str(tmp_path / "o"), "--to", to, "-q"]) == 7
    if to in STORES:
        expected = {("t", "a.png"): images["t", "a.png"], ("t", "c.png"): (picture(2), None)}
        assert READ[to](tmp_path / "o") == expected
    else:
        assert sorted(path.name[-5:] for path in (tmp_path / "o").rglob("*.png")) == ["a.png", "c.png"]


@pytest.mark.parametrize("to", FORMATS)
def test_images_that_are_not_called_so_are_named(tmp_path, to):
    folder = regular(tmp_path / "r", {("t", "a.png"): (picture(1), label(""))}) / "t" / "img"
    (folder / "notes.txt").write_text("notes")
    (folder / ".hidden").write_bytes(picture(2))
    assert convert(tmp_path / "r", tmp_path / "fine", ConvertOptions(to)).complete
    (folder / "noext").write_bytes(picture(2))
    (folder / "x.gif").write_bytes(picture(3, "GIF"))
    report = convert(tmp_path / "r", tmp_path / "o", ConvertOptions(to))
    assert {problem.path for problem in report.problems if problem.costs} == {"t/img/noext", "t/img/x.gif"}
    assert {problem.path for problem in report.problems if not problem.costs} >= {"t/img/notes.txt"}


@pytest.mark.parametrize("to", STORES)
def test_a_disk_that_is_full_is_said_to_be_so_with_the_room_of_that_time(tmp_path, project, monkeypatch, to):
    room = SimpleNamespace(f_bavail=3, f_frsize=1, f_files=9, f_favail=9)

    def full(*_, **__):
        monkeypatch.setattr(os, "statvfs", lambda _: room)
        if to == "lmdb":
            raise lmdb.Error("mdb_txn_commit: " + os.strerror(errno.EIO))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x")

    def discard(self, error, *, really=NewFolder.discard):
        really(self, error)
        room.f_bavail = 1000

    place = {"lmdb": "lmdb._put", "webdataset": "webdataset.TarOutput", "parquet": "parquet.ParquetWriter._begin_file"}
    monkeypatch.setattr(f"blobdir.stores.{place[to]}", full)
    monkeypatch.setattr(NewFolder, "discard", discard)
    with pytest.raises(PackError, match=r"No space left on device.*\(3 are free\); make room"):
        convert(project, tmp_path / "o", ConvertOptions(to))
    assert not list(tmp_path.glob("o*"))


def test_an_annotation_that_has_no_place_in_a_sample_is_named(tmp_path):
    pack(regular(tmp_path / "r", {("t", "a.png"): (picture(1), label("a"))}), tmp_path / "p")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        member = tarfile.TarInfo("x.gif")
        member.size = len(data := picture(2, "GIF"))
        tar.addfile(member, io.BytesIO(data))
    add_blob_file(tmp_path / "p", tmp_path / "x.tar", "t")
    (tmp_path / "p" / "t" / "ann" / "x.gif.json").write_bytes(label("x"))
    report = convert(tmp_path / "p", tmp_path / "o", ConvertOptions("webdataset"))
    assert {problem.code for problem in report.problems} == {"no-sample", "label-lost"} and not report.complete
    assert (report.images, report.annotations) == (2, 1)


def test_lmdb_has_room_for_more_than_was_thought(tmp_path, project, monkeypatch):
    monkeypatch.setattr("blobdir.stores.lmdb._ROOM", 0)
    monkeypatch.setattr("blobdir.stores.writing.Storing._sizes", lambda _, __, names: [0] * len(names))
    monkeypatch.setattr("blobdir.stores.lmdb._up", lambda size: max(8192, -(-size // 4096) * 4096))
    convert(project, tmp_path / "o", ConvertOptions("lmdb"))
    assert of_lmdb(tmp_path / "o") == content_of(project)


def test_datasets_that_look_alike_share_no_file(tmp_path):
    images = {(d, "a.png"): (picture(d), label(d)) for d in ("A", "a", "a-b", "a/datasets/b")}
    for to in ("webdataset", "parquet"):
        convert(regular(tmp_path / "r", images), tmp_path / to, ConvertOptions(to))
        names = [path.name.casefold() for path in (tmp_path / to).iterdir() if path.suffix != ".json"]
        assert len(names) == len(set(names)) == 4


@pytest.mark.parametrize("to", READ)
def test_only_some_datasets(tmp_path, project, to):
    report = convert(project, tmp_path / "o", ConvertOptions(to, datasets=("train/hard",)))
    assert report.images == 1
    assert {name for _, name in READ[to](tmp_path / "o")} == {"100%25.webp"}
    with pytest.raises(UsageError):
        convert(project, tmp_path / "no", ConvertOptions(to, datasets=("nope",)))
    assert not list(tmp_path.glob("no*"))


WRONG = [
    ({"to": "lmdb", "images": "link"}, "images is for coco"),
    ({"to": "webdataset", "style": "sdk"}, "style is for coco"),
    ({"to": "parquet", "val": ("a",)}, "val is for yolo"),
    ({"to": "coco", "task": "pose"}, "task is for yolo"),
    ({"to": "lmdb", "shard_bytes": 9}, r"shard_bytes \(--shard-size\) is for webdataset"),
    ({"to": "yolo", "shard_images": 9}, "shard_images is for webdataset"),
    ({"to": "folder"}, "blobdir unpack"),
    ({"to": "zip"}, "choose one of"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_options_that_fit_no_target_are_refused_by_name(options, message):
    with pytest.raises(UsageError, match=message):
        ConvertOptions(**options)


def test_the_command(tmp_path, project, capsys):
    out = tmp_path / "o"
    assert run(["convert", str(project), str(out), "--to", "webdataset", "--shard-size", "1M"]) == 0
    assert "6 images, 6 annotations (webdataset), 4 files" in capsys.readouterr().out
    assert run(["convert", str(project), str(tmp_path / "p2"), "--to", "folder"]) == 2
    assert "unpack" in capsys.readouterr().err
    assert run(["convert", str(project), str(out), "--to", "lmdb"]) == 2
    assert run(["convert", str(project), str(tmp_path / "j"), "--to", "lmdb", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["annotations"] == 6


@pytest.mark.parametrize(("to", "module", "extra"), [("lmdb", "lmdb", "lmdb"), ("parquet", "pyarrow", "parquet")])
def test_a_library_that_is_missing_is_named(tmp_path, project, monkeypatch, to, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf"blobdir\[{extra}\]"):
        convert(project, tmp_path / "o", ConvertOptions(to))
    assert not list(tmp_path.glob("o*"))


@pytest.mark.parametrize("to", READ)
def test_it_appears_whole_or_not_at_all(tmp_path, project, to, monkeypatch):
    with NewFolder(tmp_path / "o", converting.SUFFIX), pytest.raises(BusyError):
        convert(project, tmp_path / "o", ConvertOptions(to))
    shutil.rmtree(tmp_path / "o.converting")
    writer = STORES[to]
    for step in ("add", "end", "finish"):
        for error in (KeyboardInterrupt, OSError(28, "No space left on device")):

            def fail(*_, error=error):
                raise error

            with monkeypatch.context() as patch:
                patch.setattr(writer, step, fail)
                with pytest.raises((KeyboardInterrupt, PackError)):
                    convert(project, tmp_path / "o", ConvertOptions(to))
            assert not list(tmp_path.glob("o*")), step
    assert convert(project, tmp_path / "o", ConvertOptions(to)).complete


@pytest.mark.parametrize("to", READ)
def test_a_project_that_changes_meanwhile_is_no_mixture(tmp_path, project, to, monkeypatch):
    def change(self, *given, own=STORES[to].finish):
        project.rename(tmp_path / "away")
        shutil.copytree(tmp_path / "away", project)
        return own(self, *given)

    monkeypatch.setattr(STORES[to], "finish", change)
    with pytest.raises(SourceChangedError):
        convert(project, tmp_path / "o", ConvertOptions(to))
    assert not list(tmp_path.glob("o*"))


@pytest.mark.parametrize("to", READ)
def test_one_that_was_killed_leaves_no_result_and_keeps_nobody_out(tmp_path, to):
    images = {("t", f"{i:04}.png"): (picture(i), label(str(i))) for i in range(1500)}
    source = regular(tmp_path / "r", images)
    command = [sys.executable, "-m", "blobdir", "convert", str(source), str(tmp_path / "o"), "--to", to, "-q"]
    process = subprocess.Popen(command)
    while not [path for path in tmp_path.glob("o.converting/*") if path.name != ".blobdir"]:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "o").exists()
    assert convert(source, tmp_path / "o", ConvertOptions(to)).complete
    assert READ[to](tmp_path / "o") == content_of(source)


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(NAMES.filter(lambda name: name[0] != "."), min_size=1, max_size=6), seed=st.integers(0, 999))
@pytest.mark.parametrize("to", READ)
def test_any_names(tmp_path, names, seed, to):
    """Project → format → project: names, bytes and annotations are equal."""
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    chosen = random.Random(seed)
    images = {
        (chosen.choice(("train", "val")), f"{name}{chosen.choice(('.png', '.b.png', '.jpg'))}"): (
            picture(f"{seed} {i}"),
            None if chosen.random() < 0.2 else label(name),
        )
        for i, name in enumerate(sorted(names))
    }
    source = regular(folder / "r", images)
    expected = content_of(source)
    convert(source, folder / "o", ConvertOptions(to))
    assert READ[to](folder / "o") == expected
    if to == "lmdb" and any(annotation is not None for _, annotation in expected.values()):
        pack(f"lmdb:{folder}/o", folder / "back")
        back = content_of(folder / "back")
        assert {key: data for key, (data, _) in back.items()} == {key: data for key, (data, _) in expected.items()}
        assert all(back[key][1] == label for key, (_, label) in expected.items() if label is not None)
