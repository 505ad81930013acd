"""Names in folders: whatever is put, replaced and removed, what is committed can be listed, read and changed."""

from __future__ import annotations

import pytest

from blobdir import ImageStore
from blobdir.datasets import open_view
from blobdir.discovery.parts import MOST_FOLDERS
from blobdir.errors import NotFoundError, UsageError
from blobdir.verifying import verify

pytestmark = pytest.mark.filterwarnings("error::blobdir.BlobdirWarning")


def check_whole(store, expected):
    """A new handle sees just this, and nothing is wrong."""
    again = ImageStore(store.path, "r")
    assert dict(again.items()) == dict(store.items()) == expected
    assert len(again) == len(expected)
    assert [finding for finding in verify(store.path).findings if finding.severity == "error"] == []


def fail_in(store, first, count):
    def images():
        yield first, b"2"
        yield from ((f"z/{i}", b"") for i in range(count))
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        store.put_many(images())


STEPS = {
    "replaced": lambda store: store.put_many({"a/b": b"2"}),
    "replaced twice": lambda store: [store.put_many({"a/b": b"2"}) for _ in range(2)],
    "removed and put": lambda store: (store.delete_many(["a/b"]), store.put_many({"a/b": b"2"})),
    "failed in the first batch": lambda store: fail_in(store, "a/b", 1),
    "failed in the second batch": lambda store: fail_in(store, "a/b", 5000),
    "failed after another": lambda store: (store.put_many({"a/b": b"2"}), fail_in(store, "a/b", 5000)),
}


@pytest.mark.parametrize("step", STEPS)
def test_no_image_is_called_like_a_folder_that_has_one(store, step):
    store["a/b"] = b"1"
    with store:
        STEPS[step](store)
        del store["a/b"]
        store["a/c"] = b"3"
        with pytest.raises(UsageError, match=r"a: is a folder with images in it already"):
            store["a"] = b"4"
    check_whole(store, {"a/c": b"3"})


@pytest.mark.parametrize("step", STEPS)
def test_a_folder_is_free_when_its_last_image_has_gone(store, step):
    store["a/b"] = b"1"
    with store:
        STEPS[step](store)
        del store["a/b"]
        store["a"] = b"4"
    check_whole(store, {"a": b"4"})


@pytest.mark.parametrize("others", [0, 300])
def test_names_in_as_many_folders_as_are_taken_stay_readable_in_any_company(store, others):
    deep = {f"{i}/" + "d/" * (MOST_FOLDERS - 1) + f"{i}.jpg": b"%d" % i for i in range(60)}
    plain = {f"{i}.jpg": b"p" for i in range(others)}
    store.put_many(plain | deep)
    check_whole(store, plain | deep)
    store.delete_many([*plain, *list(deep)[1:]])
    last = dict([next(iter(deep.items()))])
    check_whole(store, last)
    store.compact()
    store["z"] = b"z"
    check_whole(store, last | {"z": b"z"})


WAYS = {
    "set": lambda store, name: store.__setitem__(name, b""),
    "mapping": lambda store, name: store.put_many({"other": b"", name: b""}),
    "pairs": lambda store, name: store.put_many([("other", b""), (name, b"")]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("folders", [MOST_FOLDERS + 1, 70, 1400])
def test_names_in_more_folders_are_refused(store, way, folders):
    store["there"] = b"1"
    with pytest.raises(UsageError, match=rf"is in {folders} folders, and {MOST_FOLDERS} are the most"):
        WAYS[way](store, "d/" * folders + "x")
    check_whole(store, {"there": b"1"})


PAIRS = [("a", "a.json/x"), ("f/a", "f/a.json/x/y"), ("a.jpg", "a.jpg.json/a.jpg")]


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("pair", [*PAIRS, *(pair[::-1] for pair in PAIRS)], ids="-".join)
def test_metadata_that_would_lie_in_one_another_are_refused_at_the_call(store, pair, together):
    first, second = pair
    store.put_many(dict.fromkeys(pair, b"1"))
    with store:
        store["more"] = b"2"
        if together:
            with pytest.raises(UsageError, match="can't have metadata while"):
                store.metadata.update({first: {"k": 1}, second: {"k": 2}})
        store.metadata[first] = {"k": 1}
        with pytest.raises(UsageError, match=f"{second}: can't have metadata while"):
            store.metadata[second] = {"k": 2}
    for one in (store, ImageStore(store.path, "r")):
        assert dict(one.metadata) == {first: {"k": 1}}
        assert one.get_metadata(second) == {}
    with pytest.raises(UsageError, match=f"{second}: can't have metadata while"):
        store.metadata[second] = {"k": 2}
    check_whole(store, {first: b"1", second: b"1", "more": b"2"})
    del store[first]
    store.metadata[second] = {"k": 2}
    assert dict(store.metadata) == {second: {"k": 2}}


@pytest.mark.parametrize("pair", [*PAIRS, *(pair[::-1] for pair in PAIRS)], ids="-".join)
def test_an_image_has_no_annotation_where_that_of_another_lies(store, pair, png):
    store[pair[0]] = png
    assert store.add_annotations() == []
    store[pair[1]] = png
    assert store.add_annotations() == [pair[1]]
    check_whole(store, dict.fromkeys(pair, png))


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_of_two_such_annotations_one_is_written(store, pair, png):
    store.put_many(dict.fromkeys(pair, png))
    assert len(store.add_annotations()) == 1
    check_whole(store, dict.fromkeys(pair, png))


def test_one_and_many_annotations_say_the_same(tmp_path):
    """Image ``a`` has none where ``a.json/x`` has one, whose folder is called as its own would be."""
    root = tmp_path / "p"
    for path in ("img/a", "img/a.json/x", "img/b"):
        (root / "train" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "train" / path).write_bytes(b"image")
    (root / "train/ann/a.json").mkdir(parents=True)
    (root / "train/ann/a.json/x.json").write_text('{"objects": []}')
    (root / "train/ann/b.json").mkdir()
    (root / "meta.json").write_text('{"classes": [], "tags": []}')
    dataset = open_view(root)["train"]
    said = {one.name: (one.value is not None, one.fault) for one in dataset.annotations(["a", "a.json/x", "b"])}
    assert said["a"] == (False, "")
    assert said["a.json/x"] == (True, "")
    assert "directory" in said["b"][1]
    with pytest.raises(NotFoundError):
        dataset.annotation("a")
