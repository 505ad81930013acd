"""LMDB stores as a source of packing: keys are names, values are bytes, and what is none of that is named."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lmdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import blobdir
from blobdir.cli.app import run
from blobdir.errors import BusyError, DataError, NotAProjectError, SourceChangedError, UsageError, WorkerError
from blobdir.lmdbvalues import read_values
from blobdir.packing import PackOptions, lmdbs, pack
from blobdir.packing import source as sources
from blobdir.sources.secrecy import without_secrets
from blobdir.tarwriting.lmdbs import Store
from blobdir.verifying import verify


def picture(seed, kind="PNG"):
    data = io.BytesIO()
    Image.frombytes("RGB", (8, 6), random.Random(seed).randbytes(144)).save(data, kind)
    return data.getvalue()


def fill(path, values, db=None, **options):
    """A store that has these values; a folder, unless its name says otherwise."""
    with lmdb.open(str(path), map_size=1 << 26, subdir=not str(path).endswith(".mdb"), max_dbs=8) as env:
        handle = env.open_db(db, **options) if db or options else None
        with env.begin(write=True, db=handle) as txn:
            for key, value in values.items():
                txn.put(key, value)
    return f"lmdb:{path}"


def images_of(project):
    """(Dataset, name) -> bytes."""
    opened = blobdir.open_project(project)
    return {(d, name): opened[d].get_blob_img_bytes(name) for d in opened for name in opened[d].names}


def tags_of(project, dataset, name):
    return [tag["name"] for tag in blobdir.open_project(project)[dataset].annotation(name)["tags"]]


@pytest.mark.parametrize("form", ["store", "photos.mdb"])
def test_keys_are_names_and_nothing_is_written_beside_them(tmp_path, form):
    values = {b"%08d" % i: picture(i, "JPEG") for i in range(3)}
    values |= {b"x.png": picture(10), b"a.b": picture(11, "BMP"), "ü/ï.webp".encode(): picture(12, "WEBP")}
    source = fill(tmp_path / form, values)
    for lock in tmp_path.rglob("*lock*"):
        lock.unlink()
    before = sorted(tmp_path.rglob("*"))
    report = pack(source, tmp_path / "out")
    assert report.complete and (report.found, report.images) == (6, 6)
    assert not verify(tmp_path / "out").findings
    assert [path for path in sorted(tmp_path.rglob("*")) if tmp_path / "out" not in (path, *path.parents)] == before
    own = "store" if form == "store" else "photos"
    expected = {(own, f"{i:08}.jpg"): values[b"%08d" % i] for i in range(3)}
    expected |= {(own, "x.png"): values[b"x.png"], (own, "a.b.bmp"): values[b"a.b"]}
    assert images_of(tmp_path / "out") == expected | {("ü", "ï.webp"): values["ü/ï.webp".encode()]}
    size = blobdir.open_project(tmp_path / "out")[own].annotation("x.png")["size"]
    assert size == {"height": 6, "width": 8}


def test_keys_that_are_paths_are_those_of_a_plain_folder(tmp_path):
    values = {b"train/cat/0": picture(0), b"train/dog/0": picture(1), b"/val//./cat/1.png": picture(2)}
    source = fill(tmp_path / "s", values)
    pack(source, tmp_path / "out")
    assert set(images_of(tmp_path / "out")) == {("train", "cat_0.png"), ("train", "dog_0.png"), ("val", "1.png")}
    assert tags_of(tmp_path / "out", "train", "dog_0.png") == ["dog"]
    pack(source, tmp_path / "one", PackOptions(dataset="all"))
    assert tags_of(tmp_path / "one", "all", "1.png") == ["val", "cat"]
    fill(tmp_path / "split", {b"images/train/cat/0.png": picture(0), b"images/val/0.png": picture(1)})
    pack(f"lmdb:{tmp_path}/split", tmp_path / "folders", PackOptions(labels="folders"))
    assert set(images_of(tmp_path / "folders")) == {("train", "0.png"), ("val", "0.png")}
    assert tags_of(tmp_path / "folders", "train", "0.png") == ["images", "cat"]


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path("unpickled"),)


OTHERS = {
    b"__keys__": (pickle.dumps(Bomb()), "pickles"),
    b"pickled.jpg": (pickle.dumps(Bomb(), 2), "pickles"),
    b"__len__": (b"30", "texts"),
    b"a.json": (b' {"a": 1}', "JSON"),
    b"array": (b"\x93NUMPY\x01\0rest", "NumPy arrays"),
    b"nothing": (b"", "empty"),
    b"number": (b"\x07\0\0\0\xff", "no known kind"),
    b"gif": (picture(1, "GIF"), "Supervisely doesn't know"),
    b"\0\0\0\1": (picture(2), "NUL bytes"),
    b"../x.png": (picture(3), "component .."),
    b"n" * 251 + b".png": (picture(4), "255 bytes"),
}


def test_what_is_no_image_with_a_name_is_named_by_kind(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fill("s", {b"fine": picture(9)} | {key: value for key, (value, _) in OTHERS.items()})
    assert run(["pack", "--dry-run", "lmdb:s", "out"]) == 7
    capsys.readouterr()
    assert run(["pack", "lmdb:s", "out", "--json"]) == 7
    problems = {one["path"]: one["message"] for one in json.loads(capsys.readouterr().out)["problems"]}
    for key, (_, kind) in OTHERS.items():
        assert key == b"pickled.jpg" or kind in problems[key.decode().replace("\0", "\\0")]
    assert "2 values" in problems["__keys__"]
    assert set(images_of("out")) == {("s", "fine.png")}
    assert not Path("unpickled").exists()


def test_annotations_in_a_store_are_the_images_if_they_are_annotations(tmp_path):
    fine = {"description": "", "tags": [], "size": {"height": 6, "width": 8}, "objects": []}
    values = {b"a.png": picture(1), b"a.png.json": json.dumps(fine).encode()}
    values |= {b"sub/b": picture(2), b"sub/b.json": json.dumps(fine | {"size": 7}).encode()}
    values |= {b"c.json": json.dumps(fine).encode(), b"d.png": picture(3), b"meta.json": b'{"classes": 3}'}
    report = pack(fill(tmp_path / "s", values), tmp_path / "out")
    assert report.counts() == {"annotation": 1, "name": 1, "meta": 1}
    assert {p.path for p in report.problems} == {"sub/b", "c.json", "meta.json"}
    assert set(images_of(tmp_path / "out")) == {("s", "a.png"), ("s", "d.png"), ("sub", "b.png")}
    assert (tmp_path / "out/s/ann/a.png.json").read_bytes() == values[b"a.png.json"]
    assert json.loads((tmp_path / "out/sub/ann/b.png.json").read_bytes())["size"] == {"height": 6, "width": 8}


def test_others_of_one_kind_are_one_line(tmp_path):
    values = {b"%d" % i: b"%d" % i for i in range(500)}
    report = pack(fill(tmp_path / "s", values | {b"x": picture(1)}), tmp_path / "out")
    assert [problem.message for problem in report.problems] == ["500 values, as this one, not packed: texts"]


def test_names_that_are_hidden_cost_nothing_and_those_that_are_not_utf8_stay(tmp_path):
    values = {b".thumb.png": picture(1), b"\xff\xfe.png": picture(2), b"x.png": b"\x07\x99rest"}
    report = pack(fill(tmp_path / "s", values), tmp_path / "out")
    assert set(images_of(tmp_path / "out")) == {("s", os.fsdecode(b"\xff\xfe.png")), ("s", "x.png")}
    assert report.counts() == {"hidden": 1, "not-an-image": 1, "no-size": 1}


def test_a_database_in_a_store_is_named(tmp_path):
    fill(tmp_path / "s", {b"0": picture(1)}, db=b"train")
    fill(tmp_path / "s", {b"0": picture(2)}, db=b"val")
    with pytest.raises(UsageError, match=r"s\?db=train"):
        pack(f"lmdb:{tmp_path}/s", tmp_path / "out")
    with pytest.raises(UsageError, match="has no database 'trian'.*train"):
        pack(f"lmdb:{tmp_path}/s?db=trian", tmp_path / "out")
    with pytest.raises(UsageError, match="names no database"):
        pack(f"lmdb:{tmp_path}/s?db=", tmp_path / "out")
    pack(f"lmdb:{tmp_path}/s?db=val", tmp_path / "out")
    assert images_of(tmp_path / "out") == {("val", "0.png"): picture(2)}
    fill(tmp_path / "s", {b"1": picture(3)})
    report = pack(f"lmdb:{tmp_path}/s", tmp_path / "main")
    assert [(p.code, p.path) for p in report.problems] == [("database", "train"), ("database", "val")]
    assert not report.complete and f"lmdb:{tmp_path}/s?db=val" in report.problems[1].message
    assert images_of(tmp_path / "main") == {("s", "1.png"): picture(3)}
    fill(tmp_path / "doubled", {b"0": b"x"}, db=b"d", dupsort=True)
    with pytest.raises(UsageError, match="several values"):
        pack(f"lmdb:{tmp_path}/doubled?db=d", tmp_path / "never")


def test_which_values_are_databases_lmdb_says(tmp_path, monkeypatch):
    monkeypatch.setattr("blobdir.tarwriting.lmdbs._SUBS", 2)
    alike = picture(1)[:48]
    for i in range(7):
        fill(tmp_path / "s", {}, db=b"db%d" % i)
    fill(tmp_path / "s", {b"%d.png" % i: alike for i in range(5)} | {b"db1\0a.png": alike, b"x.png": picture(2)})
    found = read_values(f"lmdb:{tmp_path}/s")
    assert found.databases == [f"db{i}" for i in range(7)]
    assert found.keys == b"".join(b"%d.png\0" % i for i in range(5)) + b"x.png\0"
    assert sum(count for _, count in found.others.values()) == 1


def test_messages_show_the_name_of_a_database_and_no_secret(tmp_path, capsys):
    fill(tmp_path / "s", {b"0": picture(1)}, db=b"te st")
    assert run(["pack", f"lmdb:{tmp_path}/s", str(tmp_path / "out")]) == 2
    assert "?db=te st" in capsys.readouterr().err
    assert run(["pack", f"lmdb:{tmp_path}/s?db=", str(tmp_path / "out")]) == 2
    assert "?db=NAME" in capsys.readouterr().err
    assert run(["pack", f"lmdb:{tmp_path}/s?foo=1", str(tmp_path / "out")]) == 3
    assert "s?foo=1" in capsys.readouterr().err
    assert without_secrets("lmdb:/a: s3://b/c?sig=x&db=y") == "lmdb:/a: s3://b/c?…"


FINE = {
    "description": "\u00a0\u3000\U0001f469\u200d\U0001f469",
    "tags": [],
    "size": {"height": 6, "width": 8},
    "objects": [],
}
TEXT = json.dumps(FINE, ensure_ascii=False)
ANNOTATIONS = {
    "spaces": (TEXT.encode(), ""),
    "bom": (TEXT.encode("utf-8-sig"), ""),
    "utf-16": (TEXT.encode("utf-16"), ""),
    "escapes": (json.dumps(FINE).replace("objects", "\\u006fbjects").encode(), ""),
    "no size": (b'{"tags": []}', "no size"),
    "cut": (b'{"objects": [', "cut off"),
    "empty": (b"", "is empty"),
    "latin": ('{"description": "\u00e9"}'.encode("latin-1"), "isn't UTF-8"),
    "binary": (b"\x07\0\x99", "isn't"),
}


@pytest.mark.parametrize("key", ["a.png", "a"])
def test_an_annotation_is_as_it_was_or_named_by_its_image(tmp_path, key):
    values = {f"{kind}/{key}".encode(): picture(i) for i, kind in enumerate(ANNOTATIONS)}
    values |= {f"{kind}/a.json".encode(): data for kind, (data, _) in ANNOTATIONS.items()}
    report = pack(fill(tmp_path / "s", values), tmp_path / "out")
    named = {problem.path: problem for problem in report.problems}
    for kind, (data, fault) in ANNOTATIONS.items():
        if fault:
            assert fault in named[f"{kind}/{key}"].message and named[f"{kind}/{key}"].code == "annotation"
        else:
            assert (tmp_path / "out" / kind / "ann/a.png.json").read_bytes() == data
    assert len(named) == 5 and not report.complete


def test_images_of_one_stem_have_its_annotation_but_not_that_of_another_image(tmp_path):
    text = {key: json.dumps(FINE | {"description": key}).encode() for key in ("a", "b")}
    values = {b"a.jpg": picture(1, "JPEG"), b"a.png": picture(2), b"a.json": text["a"]}
    values |= {b"b": picture(3), b"b.jpg": picture(4, "JPEG"), b"b.json": text["b"]}
    pack(fill(tmp_path / "s", values), tmp_path / "out")
    made = blobdir.open_project(tmp_path / "out")["s"]
    said = {name: made.annotation(name)["description"] for name in made.names}
    assert said == {"a.jpg": "a", "a.png": "a", "b.png": "b", "b.jpg": ""}


def test_a_text_that_begins_as_a_bmp_is_a_text(tmp_path):
    source = fill(tmp_path / "s", {b"cars": b"BMW, Audi", b"x": picture(1, "BMP")})
    report = pack(source, tmp_path / "out")
    assert set(images_of(tmp_path / "out")) == {("s", "x.bmp")}
    assert [problem.path for problem in report.problems] == ["cars"]


def cut(path, size):
    os.truncate(path / "data.mdb", size)


DAMAGE = {
    "cut": (lambda path: cut(path, 40_000), DataError, "cut off"),
    "short": (lambda path: cut(path, 100), DataError, "LMDB"),
    "empty": (lambda path: cut(path, 0), DataError, "isn't an LMDB store"),
    "foreign": (lambda path: (path / "data.mdb").write_bytes(b"SQLite" * 9999), DataError, "isn't an LMDB store"),
    "pipe": (lambda path: ((path / "data.mdb").unlink(), os.mkfifo(path / "data.mdb")), DataError, "isn't a file"),
    "missing": (lambda path: (path / "data.mdb").unlink(), NotAProjectError, "holds no data.mdb"),
    "away": (shutil.rmtree, NotAProjectError, "no such LMDB store"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_what_is_no_whole_store_is_a_clear_error(tmp_path, how):
    source = fill(tmp_path / "s", {b"%d" % i: picture(i) * 20 for i in range(20)})
    damage, error, message = DAMAGE[how]
    damage(tmp_path / "s")
    with pytest.raises(error, match=message):
        pack(source, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_a_store_that_is_damaged_inside_is_an_error_and_not_the_end(tmp_path):
    source = fill(tmp_path / "s", {b"%d" % i: picture(i) * 20 for i in range(20)})
    path = tmp_path / "s" / "data.mdb"
    data = bytearray(path.read_bytes())
    for page in range(2, len(data) // 4096):
        data[page * 4096 + 16 : page * 4096 + 600] = b"\xf3" * 584
    path.write_bytes(data)
    with pytest.raises((WorkerError, DataError, NotAProjectError)):
        pack(source, tmp_path / "out")


def test_a_store_that_this_process_has_open_is_read_all_the_same(tmp_path):
    source = fill(tmp_path / "s", {b"0": picture(1)})
    with lmdb.open(str(tmp_path / "s"), map_size=1 << 26):
        assert pack(source, tmp_path / "out").images == 1
        with pytest.raises(BusyError, match="open in this process"):
            read_values(source)


@pytest.mark.parametrize("has_lock", [True, False])
def test_a_store_that_changes_while_it_is_packed_is_never_a_mixture(tmp_path, monkeypatch, has_lock):
    source = fill(tmp_path / "s", {b"%d" % i: picture(i) for i in range(20)})
    if not has_lock:
        (tmp_path / "s" / "lock.mdb").unlink()

    def list_and_change(*given):
        listing = lmdbs.list_apart(*given)
        fill(tmp_path / "s", {b"7": picture(77)})
        return listing

    monkeypatch.setattr(sources, "list_apart", list_and_change)
    with pytest.raises(SourceChangedError, match="mdb_copy"):
        pack(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    assert pack(source, tmp_path / "out", resume=True).complete
    assert images_of(tmp_path / "out")["s", "7.png"] == picture(77)


def test_what_a_writer_does_who_cannot_know_of_the_reader_is_noticed(tmp_path):
    fill(tmp_path / "s", {b"%d" % i: picture(i) for i in range(20)})
    (tmp_path / "s" / "lock.mdb").unlink()
    writer = "import lmdb, sys\nwith lmdb.open(sys.argv[1]) as env, env.begin(write=True) as txn: txn.put(b'0', b'')"
    with Store(f"lmdb:{tmp_path}/s") as store:
        assert store.get(b"0") == picture(0)
        subprocess.run([sys.executable, "-c", writer, str(tmp_path / "s")], check=True)
        with pytest.raises(SourceChangedError):
            store.get(b"1")


def test_a_pack_that_was_killed_is_resumed(tmp_path):
    values = {b"%04d" % i: picture(i) for i in range(400)}
    source = fill(tmp_path / "s", values)
    options = ["--shard-images", "20", "--processes", "1"]
    command = [sys.executable, "-m", "blobdir", "pack", source, str(tmp_path / "out"), *options]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("out.packing/blob/*.tar")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    report = pack(source, tmp_path / "out", PackOptions(shard_images=20, processes=1), resume=True)
    assert report.resumed and report.images == 400
    assert images_of(tmp_path / "out") == {("s", f"{key.decode()}.png"): value for key, value in values.items()}


def test_labels_are_refused_and_a_destination_in_the_store(tmp_path):
    source = fill(tmp_path / "s", {b"0": picture(1)})
    with pytest.raises(UsageError, match="labels"):
        pack(source, tmp_path / "out", PackOptions(labels="coco"))
    with pytest.raises(UsageError, match="lies in"):
        pack(source, tmp_path / "s" / "out")


def test_without_the_library_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    source = fill(tmp_path / "s", {b"0": picture(1)})
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(UsageError, match=r"blobdir\[lmdb\]"):
        read_values(source)


def test_samples_have_their_annotations_in_the_tar(tmp_path):
    values = {b"IMG.%d" % i: picture(i) for i in range(5)}
    report = pack(fill(tmp_path / "s", values), tmp_path / "out", PackOptions(layout="webdataset"))
    assert report.complete and not verify(tmp_path / "out").findings
    assert images_of(tmp_path / "out") == {("s", f"IMG.{i}.png"): picture(i) for i in range(5)}


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.sets(st.binary(min_size=1, max_size=12), max_size=8), seed=st.integers(0, 99))
def test_any_keys(tmp_path, keys, seed):
    """Each value is in the project once, byte for byte, or counted among what isn't."""
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    values = {key: picture(f"{seed} {i}") for i, key in enumerate(sorted(keys))} | {b"fine": picture(0)}
    report = pack(fill(folder / "s", values), folder / "out", PackOptions(dataset="d"))
    left = sum(int(p.message.split()[0].replace(",", "")) for p in report.problems if p.code in ("name", "hidden"))
    shown = sorted(images_of(folder / "out").values())
    assert len(set(shown)) == len(shown) == report.images == len(values) - left
    assert set(shown) <= set(values.values())
    json.dumps(report.to_json())
