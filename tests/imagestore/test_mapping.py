"""A mapping of names to bytes: what it gives, what it refuses, and what it says."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from collections.abc import MutableMapping

import pytest
from PIL import Image

import blobdir
from blobdir import ImageStore
from blobdir.errors import AnnotationError, NotAProjectError, ReadOnlyError, UsageError
from blobdir.packing import create_project
from blobdir.verifying import verify

pytestmark = pytest.mark.filterwarnings("error::blobdir.BlobdirWarning")
ODD_VALUES = {
    "a.jpg": b"\xff\xd8 something",
    "empty.png": b"",
    "no extension": b"\0",
    "of/a/folder/c.png": b"c" * 511,
    "of/b.png": b"d" * 512,
    "img": b"1",
    "ann/x.json": b"{}",
    "datasets/datasets": b"2",
    "blob": b"3",
    ".hidden": b"4",
    "._a.jpg": b"5",
    "Thumbs.db": b"6",
    "a~": b"7",
    ".blobdir-123456789012.tmp": b"8",
    "store_offsets.pkl": b"9",
    "x.tar": b"10",
    "new\nline \\ * [a] ?": b"11",
    "é漢字": b"12",
    "\udcff not UTF-8": b"13",
    "x" * 250: b"14",
    "/".join(["y" * 200] * 12): b"15",
    "big": os.urandom(3_000_000),
}


def in_one_transaction(store, images, _):
    with store:
        for one in images:
            store[one] = b""
        raise AssertionError("it was taken")


def many_in_one_transaction(store, images, _):
    with store:
        store.put_many(images)


WAYS = {
    "one by one": in_one_transaction,
    "mapping": lambda store, images, _: store.put_many(images),
    "pairs": lambda store, images, _: store.put_many(iter(images.items())),
    "with": many_in_one_transaction,
}


def errors_of(root):
    return [finding for finding in verify(root).findings if finding.severity == "error"]


def test_odd_names_and_values_come_back_as_they_were(store, tmp_path):
    assert isinstance(store, MutableMapping)
    assert store.put_many(ODD_VALUES) == (len(ODD_VALUES), 0, 0)
    for seen in (store, ImageStore(store.path, "r"), pickle.loads(pickle.dumps(store))):
        assert dict(seen) == ODD_VALUES
        assert seen.names == sorted(ODD_VALUES, key=os.fsencode)
        assert seen.get_many(reversed(ODD_VALUES)) == list(reversed(ODD_VALUES.values()))
        assert len(seen) == len(ODD_VALUES)
    images = blobdir.open_project(store.path)["images"]
    assert {name: images.get_blob_img_bytes(name) for name in images} == ODD_VALUES
    assert errors_of(store.path) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "empty"),
        ("/a", "slash"),
        ("a/", "slash"),
        ("a//b", "slash"),
        (".", r"component \."),
        ("a/../b", r"\.\."),
        ("a\0b", "NUL"),
        ("x" * 251, "too long|251"),
        ("x" * 256, "255"),
        ("/".join(["y" * 200] * 20), "3000"),
        ("\ud800", "half a character"),
        (3, "isn't a text"),
        (b"a.jpg", r"name\.decode"),
        (None, "isn't a text"),
        ("a.jpg/b", "a.jpg is an image"),
        ("folder", "is a folder"),
        ("twice", "is a folder"),
        ("once/b", "once is an image"),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_names_that_cant_be_are_refused_and_nothing_is_written(store, name, said, way):
    store.put_many({"a.jpg": b"a", "folder/b": b"b"})
    before = sorted(os.listdir(f"{store.path}/blob"))
    images = {"good": b"1", "twice/x": b"2", "once": b"3", name: b"4", "good too": b"5"}
    with pytest.raises(UsageError, match=said):
        WAYS[way](store, images, name)
    assert dict(store) == {"a.jpg": b"a", "folder/b": b"b"}
    assert sorted(os.listdir(f"{store.path}/blob")) == before


def test_a_call_that_is_refused_leaves_the_transaction_as_it_was(store):
    store.put_many({"a": b"a", "b": b"b", "f/c": b"c"})
    with store:
        store["new"] = b"1"
        del store["b"]
        for _ in range(2):
            with pytest.raises(UsageError):
                store.put_many([("a", b"x"), ("b", b"y"), ("new", b"z"), ("more", b""), ("g/h", b""), ("", b"")])
            with pytest.raises(KeyError):
                store.delete_many(["a", "there isn't"])
            with pytest.raises(KeyError):
                store.put_many({"a": b"x"}, metadata={"there isn't": {}})
            assert dict(store) == {"a": b"a", "new": b"1", "f/c": b"c"}
        store["g"] = b"no folder"
    assert dict(store) == {"a": b"a", "new": b"1", "f/c": b"c", "g": b"no folder"}


@pytest.mark.parametrize("value", ["text", 3, None, [b""], ["a"]])
def test_values_that_arent_bytes_are_refused(store, value):
    with pytest.raises(UsageError, match=r"a\.jpg: .*must be bytes"):
        store["a.jpg"] = value
    assert list(store) == []


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_other_bytes_are_bytes(store, kind):
    store["a.jpg"] = kind(b"abc")
    assert store["a.jpg"] == b"abc"


def test_put_many_says_what_it_did(store):
    assert store.put_many({"a": b"1", "b": b"2"}) == (2, 0, 0)
    report = store.put_many([("a", b"3"), ("c", b"4"), ("c", b"5")])
    assert (report.new, report.replaced, report.kept) == (1, 2, 0)
    assert store.put_many({"a": b"6", "d": b"7"}, overwrite=False) == (1, 0, 1)
    assert dict(store) == {"a": b"3", "b": b"2", "c": b"5", "d": b"7"}
    assert store.put_many({}) == (0, 0, 0)
    store.update({"a": b"8"}, e=b"9")
    assert store.pop("e") == b"9"
    store.clear()
    assert dict(store) == {}


@pytest.mark.parametrize(
    "name", ["none", "", "/", "a/../b", "folder", "a.jpg/b", "x" * 5000, 3, None, ("a",), "\ud800"]
)
def test_what_isnt_there_is_a_key_error_that_names_it(store, name):
    store.put_many({"a.jpg": b"a", "folder/b": b"b"})
    assert name not in store
    many = [*["a.jpg"] * 300, name]
    for ask in (
        lambda: store[name],
        lambda: store.get_many(["a.jpg", name]),
        lambda: store.get_many(many),
        lambda: store.delete_many([name]),
        lambda: store.get_metadata(name),
        lambda: store.metadata[name],
    ):
        with pytest.raises(KeyError) as found:
            ask()
        assert found.value.args == (name,)
    assert store.get(name) is None
    assert store.get_many(["a.jpg", name], None) == [b"a", None]
    assert store.get_many(many, b"!")[-1] == b"!"


def test_metadata_go_with_their_image(store):
    store.put_many({"a.jpg": b"a", "f/b": b"b"}, metadata={"a.jpg": {"k": [1, "é"]}})
    store.metadata["f/b"] = {"x": None}
    assert dict(store.metadata) == {"a.jpg": {"k": [1, "é"]}, "f/b": {"x": None}}
    store["a.jpg"] = b"other bytes"
    assert store.get_metadata("a.jpg") == {"k": [1, "é"]}
    with store:
        del store["a.jpg"]
        store["a.jpg"] = b"come again"
        assert store.get_metadata("a.jpg") == {}
    assert store.get_metadata("a.jpg") == {}
    del store.metadata["f/b"]
    assert dict(store.metadata) == {}
    with pytest.raises(KeyError):
        del store.metadata["f/b"]
    assert errors_of(store.path) == []


def test_metadata_are_nobody_elses(store):
    store.put_many({"a": b"1", "a.png": b"2"}, metadata={"a": {"of": "a"}})
    store["a.jpg"] = b"3"
    store.metadata["a.png"] = {"of": "a.png"}
    store["a.png.jpg"] = b"4"
    assert dict(store.metadata) == {"a": {"of": "a"}, "a.png": {"of": "a.png"}}
    del store["a"]
    store["a"] = b"again"
    assert dict(store.metadata) == {"a.png": {"of": "a.png"}}


@pytest.mark.parametrize("value", [3, None, [1], {"a": float("nan")}, {"a": b"bytes"}, {"a": {1, 2}}, {1: 1, "1": 2}])
def test_metadata_that_cant_be_kept_are_refused(store, value):
    with pytest.raises(UsageError, match=r"a: metadata"):
        store.put_many({"a": b""}, metadata={"a": value})
    assert "a" not in store


def test_metadata_that_somebody_has_broken_are_named(store):
    store.put_many({"a": b""}, metadata={"a": {"k": 1}})
    with open(f"{store.path}/images/meta/a.json", "w") as file:
        file.write("[1, 2")
    with pytest.raises(AnnotationError, match=r"images/meta/a\.json"):
        store.get_metadata("a")


def test_modes(tmp_path):
    with pytest.raises(NotAProjectError):
        ImageStore(tmp_path / "none", "r")
    with pytest.raises(NotAProjectError):
        ImageStore(tmp_path / "none", "r+")
    ImageStore(tmp_path / "s", "x")["a"] = b"1"
    with pytest.raises(UsageError):
        ImageStore(tmp_path / "s", "x")
    with pytest.raises(UsageError):
        ImageStore(tmp_path / "s", "w")
    reader = ImageStore(tmp_path / "s", "r")
    with reader as same:
        assert same["a"] == b"1"
    for write in (lambda: reader.update(a=b""), reader.clear, reader.compact):
        with pytest.raises(ReadOnlyError):
            write()
    reader.close()
    with pytest.raises(UsageError, match="closed"):
        reader["a"]


def test_other_places(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotAProjectError):
        ImageStore(tmp_path / "empty")
    create_project(tmp_path / "p")
    with ImageStore(tmp_path / "p", dataset="train/hard") as store:
        store["a"] = b"1"
    assert blobdir.open_project(tmp_path / "p")["train/hard"].names == ["a"]


def test_nested_transactions_are_refused(store):
    with store:
        store["a"] = b"1"
        with pytest.raises(UsageError, match="nested"), store:
            pass
        store["b"] = b"2"
    assert dict(store) == {"a": b"1", "b": b"2"}


def test_an_error_leaves_nothing(store):
    store["a"] = b"1"

    def change():
        with store:
            store["b"] = b"2"
            del store["a"]
            assert dict(store) == {"b": b"2"}
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change()
    assert dict(store) == {"a": b"1"}


def test_pairs_may_be_made_of_the_store_itself(store):
    store.put_many({f"{i}": b"%d" % i for i in range(10)})
    with store:
        store["0"] = b"new"
        store.put_many((f"copy of {name}", store[name]) for name in store.names)
    assert store["copy of 0"] == b"new"
    assert len(store) == 20


def test_annotations_are_added_for_the_sdk(store):
    picture = io.BytesIO()
    Image.new("RGB", (7, 5)).save(picture, "PNG")
    store.put_many({"a.png": picture.getvalue(), "a": picture.getvalue(), "f/b.png": picture.getvalue(), "no": b"text"})
    assert store.add_annotations() == ["no"]
    images = blobdir.open_project(store.path)["images"]
    assert images.annotation("a.png")["size"] == {"height": 5, "width": 7}
    assert images.annotation("f/b.png")["objects"] == []
    del store["no"]
    assert store.add_annotations() == []
    assert "image-without-annotation" not in {finding.code for finding in verify(store.path).findings}
    store["c.png"] = picture.getvalue()
    store["a.png"] = b"other bytes"
    del store["a"]
    assert sorted(os.listdir(f"{store.path}/images/ann")) == ["a.png.json", "f"]


@pytest.mark.parametrize("images", [5, None, "ab", [("a",)], [("a", b"", 1)], [5], {"a": b"1"}.keys()])
def test_what_arent_images_is_refused(store, images):
    with pytest.raises(UsageError, match="images are given as"):
        store.put_many(images)
    assert store.names == []


@pytest.mark.parametrize("error", [FileNotFoundError(2, "none", "x.jpg"), KeyError("x"), ZeroDivisionError()])
def test_errors_of_who_gives_the_images_stay_what_they_are(store, error):
    def images():
        yield "a", b"1"
        raise error

    with pytest.raises(type(error)) as found:
        store.put_many(images())
    assert found.value is error
    assert store.names == []


def test_who_only_reads_imports_nothing_that_writes(store):
    store["a"] = b"1"
    code = (
        "import sys; from blobdir import ImageStore; "
        f"assert ImageStore({store.path!r}, 'r').get_many(['a']) == [b'1']; "
        "assert not [name for name in sys.modules if name.startswith('blobdir.packing')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("url", ["s3://bucket/store", "memory://store", "file:///tmp/x"])
def test_stores_are_folders_of_this_machine(url):
    with pytest.raises(UsageError, match="folder of this machine"):
        ImageStore(url)


def test_a_project_that_others_made(store):
    """Images in folders and in packed blobs, with labels: what is removed takes its own with it, as everywhere."""
    store["b.png"] = b"member"
    for path, data in {
        "img/a.png": b"plain",
        "img/notes.txt": b"none",
        "ann/a.png.json": b"{}",
        "seg/a.png": b"",
    }.items():
        os.makedirs(os.path.dirname(f"{store.path}/images/{path}"), exist_ok=True)
        with open(f"{store.path}/images/{path}", "wb") as file:
            file.write(data)
    other = ImageStore(store.path)
    assert dict(other) == {"a.png": b"plain", "b.png": b"member"}
    assert "notes.txt" not in other
    with pytest.raises(UsageError, match="no image"):
        other["notes.txt"] = b""
    other["a.png"] = b"now a member"
    assert not os.path.exists(f"{store.path}/images/img/a.png")
    assert os.path.exists(f"{store.path}/images/ann/a.png.json")
    del other["a.png"]
    assert os.listdir(f"{store.path}/images/ann") == os.listdir(f"{store.path}/images/seg") == []
    assert dict(store) == {"b.png": b"member"}
