"""What readers see: one commit, all of it; and what they keep open: the blobs of that one."""

from __future__ import annotations

import gc
import os
import tarfile
import threading
import warnings
from contextlib import contextmanager

import pytest
from changes.children import Child

from blobdir import ImageStore
from blobdir.errors import BlobdirWarning, IncompleteListingError, NotAProjectError, PackError, UsageError
from blobdir.packing import journal, publishing

pytestmark = pytest.mark.filterwarnings("error::blobdir.BlobdirWarning")
NAMES = [f"{i:04}" for i in range(1200)]


def generation(number):
    return dict.fromkeys(NAMES, b"%d" % number)


@contextmanager
def no_collector():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def deleted(store):
    """How many files of a store this process has open that have no name any more."""
    folder = "/proc/self/fd"
    there = [one for name in os.listdir(folder) if os.path.islink(one := os.path.join(folder, name))]
    return sum(target.startswith(store.path) and "(deleted)" in target for target in map(os.readlink, there))


def transaction(store, i):
    with store:
        store["a"] = b"%d" % i * 9000
        store.put_many({f"{i}": b"x"})


def fails(store):
    with pytest.raises(UsageError):
        store[""] = b""


WRITES = {
    "replace": lambda store, i: store.put_many({"a": b"%d" % i * 9000}),
    "replace one by one": lambda store, i: [store.put_many({"a": b"%d" % j * 9000}) for j in range(3)],
    "put": lambda store, i: store.put_many({"a": b"%d" % i * 9000, f"{i}": b""}),
    "in folders": lambda store, i: store.put_many({"c/b": b"%d" % i * 9000}),
    "transaction": transaction,
    "remove": lambda store, i: (store.put_many({f"{i}": b"x" * 9000}), store.delete_many([f"{i}"])),
    "metadata": lambda store, i: store.put_many({"a": b"%d" % i * 9000}, metadata={"a": {"i": i}}),
    "compact": lambda store, i: (store.put_many({"a": b"%d" % i * 9000}), store.compact()),
    "fails": lambda store, i: (store.put_many({"a": b"%d" % i * 9000}), fails(store)),
}


@pytest.mark.parametrize("write", WRITES)
def test_blobs_that_went_are_let_go_of_without_the_collector(store, write):
    """One version at the most is held: that of the last call of each handle."""
    store["a"] = b"0"
    reader = ImageStore(store.path, "r")
    with no_collector():
        for i in range(12):
            WRITES[write](store, i)
            store.get("a")
            dict(reader.items()), reader.get("no"), list(reader.metadata)
        assert deleted(store) <= 2
        dict(reader.items()), store.get("a")
        assert deleted(store) == 0


ITERATIONS = {
    "items": lambda store: (value for _, value in store.items()),
    "values": lambda store: iter(store.values()),
}


@pytest.mark.parametrize("iterate", ITERATIONS)
@pytest.mark.parametrize("change", ["replaced", "removed", "compacted"])
def test_an_iteration_is_of_one_commit(store, iterate, change):
    store.put_many(generation(0))
    reader = ImageStore(store.path, "r")
    values = ITERATIONS[iterate](reader)
    found = [next(values)]
    if change == "replaced":
        store.put_many(generation(1))
    elif change == "removed":
        store.delete_many(NAMES[1:])
    else:
        store.delete_many(NAMES[:600])
        store.compact()
    assert [*found, *values] == [b"0"] * len(NAMES)
    assert [*ITERATIONS[iterate](reader)] == [*dict(store).values()]


def test_items_in_a_transaction_are_what_is_written_in_it(store):
    store.put_many({"a": b"1", "b": b"2"})
    with store:
        store["c"] = b"3"
        del store["a"]
        assert dict(store.items()) == {"b": b"2", "c": b"3"}
        assert list(store.values()) == [b"2", b"3"]
        assert b"3" in store.values()
        assert ("b", b"2") in store.items()


def test_large_images_come_a_few_at_a_time(store):
    images = {f"{i}": b"%d" % i * (3 << 20) for i in range(6)} | {"no bytes": b""}
    store.put_many(images)
    assert dict(store.items()) == images


def test_metadata_beside_a_writer_are_those_that_are_there(store):
    store.put_many(generation(0), metadata={name: {"n": 1} for name in NAMES[:3]})
    reader = ImageStore(store.path, "r")
    found = iter(reader.metadata.items())
    assert next(found) == (NAMES[0], {"n": 1})
    store.delete_many([NAMES[1]])
    assert list(found) == [(NAMES[2], {"n": 1})]
    assert len(reader.metadata) == 2


LOOKS = {
    "open": lambda store: ImageStore(store.path, "r"),
    "one": lambda store: store["a"],
    "get": lambda store: store.get("no"),
    "many": lambda store: store.get_many(["a", "b"], None),
    "in": lambda store: "n" in store,
    "names": lambda store: store.names,
    "len": len,
    "items": lambda store: list(store.items()),
    "metadata": lambda store: store.get_metadata("a"),
}


@pytest.mark.parametrize("renames", [1, 2, 3])
def test_who_may_not_finish_a_change_is_shown_no_half_of_it(store, monkeypatch, renames):
    store.put_many({"a": b"1", "b": b"2"}, metadata={"a": {"k": 1}})
    reader = ImageStore(store.path, "r")

    def cut_off():
        done = []

        def counted(rename):
            def some(*given, **more):
                if os.path.lexists(f"{store.path}/.blobdir/journal.json"):
                    done.append(given)
                    if len(done) > renames:
                        os._exit(9)
                rename(*given, **more)

            return some

        os.rename, journal.rename_new = counted(os.rename), counted(journal.rename_new)
        with store:
            store.put_many({"a": b"new", "n": b"n"}, metadata={"a": {"k": 2}})
            del store["b"]

    with Child(cut_off) as child:
        assert child.ended() == 9

    def refused(_):
        raise PackError("Permission denied")

    with monkeypatch.context() as forbidden, warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)
        forbidden.setattr(publishing, "recover", refused)
        for look in LOOKS.values():
            for _ in range(2):
                with pytest.raises(IncompleteListingError, match="a change of the project was cut off"):
                    look(reader)
    assert dict(reader.items()) in ({"a": b"1", "b": b"2"}, {"a": b"new", "n": b"n"})
    assert reader.get_metadata("a") == {"k": 1 if reader["a"] == b"1" else 2}


# -- who calls in the middle of a call -------------------------------------------------------------------------------

CALLS = {
    "put": lambda store: store.put_many({"inner": b""}),
    "delete": lambda store: store.delete_many(["a"]),
    "transaction": lambda store: store.__enter__(),
    "compact": lambda store: store.compact(),
    "annotations": lambda store: store.add_annotations(),
}


@pytest.mark.parametrize("call", CALLS)
def test_what_gives_images_may_not_write(store, call):
    store["a"] = b"1"

    def images():
        yield "b", b"2"
        CALLS[call](store)

    with pytest.raises(UsageError, match="a call of this store is writing"):
        store.put_many(images())
    assert dict(store.items()) == {"a": b"1"}
    store["c"] = b"3"


@pytest.mark.parametrize("call", [*CALLS, "enter"])
def test_a_closed_store_writes_nothing(store, call):
    store["a"] = b"1"
    store.close()
    with pytest.raises(UsageError, match="the store is closed"):
        CALLS.get(call, lambda store: store.__enter__())(store)


def test_two_threads_that_begin_at_once_are_told_the_same(store):
    errors, start = [], threading.Barrier(4)

    def begin():
        start.wait()
        try:
            store.__enter__()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
    assert len(errors) == 3
    assert all(isinstance(error, UsageError) and "can't be nested" in str(error) for error in errors)


# -- what is no store ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["a", "r", "r+"])
def test_an_empty_folder_is_no_store_and_what_to_do_is_said(tmp_path, mode):
    with pytest.raises(NotAProjectError, match="is an empty folder, and no store; a store makes its folder"):
        ImageStore(tmp_path, mode)


@pytest.mark.parametrize("mode", ["a", "r", "r+"])
def test_a_tar_is_no_store(tmp_path, mode):
    place = tmp_path / "t.tar"
    with tarfile.open(place, "w") as out:
        out.addfile(tarfile.TarInfo("a.jpg"))
    with pytest.raises(NotAProjectError, match="is a tar, and no store: open_project reads what is in it"):
        ImageStore(place, mode)


def test_a_path_may_be_bytes(store):
    store["a"] = b"1"
    assert ImageStore(os.fsencode(store.path), "r")["a"] == b"1"


@pytest.mark.parametrize("dataset", [None, 3, b"images"])
def test_the_name_of_a_dataset_is_a_text(store, dataset):
    with pytest.raises(UsageError, match="can't be the name of a dataset"):
        ImageStore(store.path, dataset=dataset)


@pytest.mark.parametrize("value", [{1: 2}, {None: 1}, {"a": [{"b": {True: 1}}]}, {"a": ({2: 1},)}])
def test_keys_of_metadata_are_texts(store, value):
    store["a"] = b"1"
    with pytest.raises(UsageError, match="isn't a text; nothing was written"):
        store.metadata["a"] = value
    assert store.get_metadata("a") == {}
