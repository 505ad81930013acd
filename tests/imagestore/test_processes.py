"""Several at once: one writer, any number of readers, who see the last commit; and what is left of a killed writer."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import threading
import time

import pytest
from changes.children import Child

import blobdir
from blobdir import ImageStore
from blobdir.discovery.unfinished import UNFINISHED
from blobdir.errors import BlobdirError, BusyError, PackError, UsageError
from blobdir.index import Defect
from blobdir.opening import choosing
from blobdir.projectlock import ProjectLock
from blobdir.verifying import verify

pytestmark = pytest.mark.filterwarnings("error::blobdir.BlobdirWarning")
NAMES = [f"{i}" for i in range(20)]


def generation(number):
    """All images of a store, as one commit makes them."""
    return {name: b"%d" % number * (600 if int(name) % 7 else 1) for name in NAMES}


def number_of(images):
    """Which generation some bytes are of; an error if they are of several."""
    found = {int(data[: len(data) // (600 if int(name) % 7 else 1)]) for name, data in images.items()}
    assert len(found) == 1, f"a mixture of {found}"
    return found.pop()


@pytest.fixture
def holder(store):
    """Another process that has a transaction of the store open."""
    store.put_many(generation(0))
    begun, tell = os.pipe()

    def hold():
        with ImageStore(store.path) as mine:
            mine["never"] = b""
            os.write(tell, b"1")
            time.sleep(600)

    with Child(hold) as child:
        os.read(begun, 1)
        yield child
    os.close(begun)
    os.close(tell)


WAYS = {
    "put": lambda store: store.put_many(generation(1)),
    "set": lambda store: store.__setitem__("new", b""),
    "delete": lambda store: store.__delitem__("1"),
    "metadata": lambda store: store.metadata.__setitem__("1", {"k": 1}),
    "with": lambda store: store.__enter__(),
    "compact": lambda store: store.compact(),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_second_writer_is_refused_at_once_and_told_who(store, holder, way):
    with pytest.raises(BusyError, match=f"process {holder.pid} is changing it"):
        WAYS[way](store)
    assert number_of(dict(store)) == 0
    assert not store.is_open


@pytest.mark.parametrize("way", ["put", "set", "delete", "metadata", "compact"])
def test_a_killed_writer_keeps_nobody_out(store, holder, way):
    waiting = ImageStore(store.path, timeout=60)
    threading.Timer(0.1, os.kill, (holder.pid, signal.SIGKILL)).start()
    WAYS[way](waiting)
    assert "never" not in store
    assert not [one for one in verify(store.path).findings if one.severity == "error"]


def test_a_second_store_of_one_process_is_another_writer(store):
    other = ImageStore(store.path)
    with store:
        store["a"] = b"1"
        assert "a" not in other
        with pytest.raises(BusyError, match=f"process {os.getpid()}"):
            other["b"] = b"2"
    other["b"] = b"2"
    assert dict(store) == {"a": b"1", "b": b"2"}


def commits(path, first, last):
    """Write generations, each in one commit; every other one in pieces."""
    store = ImageStore(path, timeout=60)
    for number in range(first, last):
        if number % 2:
            store.put_many(generation(number))
        else:
            with store:
                for name, data in generation(number).items():
                    if int(name) % 3 == 0:
                        del store[name]
                    store[name] = data
                store["x"] = b""
                del store["x"]
        if number % 10 == 9:
            store.compact()


def by_the_store(path):
    reader = ImageStore(path, "r")
    return lambda: dict(zip(NAMES, reader.get_many(NAMES), strict=True))


def by_a_new_store(path):
    return lambda: dict(zip(NAMES, ImageStore(path, "r").get_many(NAMES), strict=True))


def by_the_project(path):
    return lambda: dict(zip(NAMES, blobdir.open_project(path)["images"].read_many(NAMES), strict=True))


@pytest.mark.parametrize("look", [by_the_store, by_a_new_store, by_the_project])
def test_readers_see_whole_commits_only(store, look):
    store.put_many(generation(0))
    read, seen = look(store.path), []
    with Child(lambda: commits(store.path, 1, 31)) as writer:
        while not seen or seen[-1] < 30:
            seen.append(number_of(read()))
        assert writer.ended() == 0
    assert seen == sorted(seen)
    assert len({*seen}) > 3


def test_threads_read_while_one_writes(store):
    store.put_many(generation(0))
    faults, is_over = [], threading.Event()

    def look():
        try:
            before = 0
            while not is_over.is_set():
                number = number_of(dict(zip(NAMES, store.get_many(NAMES), strict=True)))
                assert number >= before
                before = number
                assert len(store) == len(NAMES)
        except BaseException as error:
            faults.append(error)
            raise

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, 12):
        store.put_many(generation(number))
    is_over.set()
    for reader in readers:
        reader.join()
    assert faults == []


def test_killed_at_any_moment(store):
    store.put_many(generation(0))
    rng, before = random.Random(5), 0
    for _ in range(12):
        with Child(lambda: commits(store.path, before + 1, before + 1000)):  # noqa: B023  # it's forked at once
            time.sleep(rng.uniform(0.005, 0.12))
        before_recovery = ImageStore(store.path, "r")
        number = number_of(dict(zip(NAMES, before_recovery.get_many(NAMES), strict=True)))
        assert number >= before
        before = number
        assert before_recovery.names == sorted(NAMES)
    store.put_many(generation(before + 1))
    assert number_of(dict(store)) == before + 1
    assert not [one for one in verify(store.path).findings if one.severity == "error"]


def in_child(check):
    with Child(check) as child:
        assert child.ended() == 0


def test_a_forked_process_reads_and_writes(store):
    store.put_many(generation(0))
    assert store["1"] == generation(0)["1"]

    def check():
        assert number_of(dict(store)) == 0
        store.put_many(generation(1))
        assert number_of(dict(store)) == 1

    in_child(check)
    assert number_of(dict(store)) == 1


def test_a_forked_process_has_no_part_in_a_transaction(store):
    store.put_many(generation(0))
    with store:
        store.put_many(generation(1))

        def check():
            assert number_of(dict(store)) == 0
            for way in WAYS.values():
                with pytest.raises((BusyError, UsageError)):
                    way(store)
            with pytest.raises(UsageError, match="child"):
                store.__exit__(None, None, None)
            store.close()

        in_child(check)
        assert number_of(dict(store)) == 1
    assert number_of(dict(ImageStore(store.path, "r"))) == 1


@pytest.mark.parametrize("way", ["at once", "step by step", "caught"])
def test_a_full_disk_costs_nothing_that_was_committed(store, way):
    """What a limit of a file's size does is what a full disk does: a write comes back short, or not at all."""
    store.put_many(generation(0))
    images = {f"big {i}": os.urandom(100_000) for i in range(30)}

    def step_by_step():
        with store:
            for name, data in images.items():
                store[name] = data

    def caught():
        with store:
            try:
                store.put_many(images)
            except PackError:
                store["small"] = b"1"

    def check():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        ways = {"at once": lambda: store.put_many(images), "step by step": step_by_step, "caught": caught}
        with pytest.raises(UsageError if way == "caught" else PackError, match="nothing was changed"):
            ways[way]()
        assert number_of(dict(store)) == 0
        store.put_many(generation(1))

    in_child(check)
    assert number_of(dict(store)) == 1


def test_another_user_reads_and_is_told_that_he_cant_write(store):
    store.put_many(generation(0), metadata={"1": {"k": 1}})
    for folder, _, files in os.walk(store.path):
        os.chmod(folder, 0o555)
        for name in files:
            os.chmod(os.path.join(folder, name), 0o444)
    for above in (os.path.dirname(store.path),):
        os.chmod(above, 0o755)

    def check():
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        for mode in ("r", "a"):
            reader = ImageStore(store.path, mode)
            assert number_of(dict(reader)) == 0
            assert reader.get_metadata("1") == {"k": 1}
        for way in WAYS.values():
            with pytest.raises(BlobdirError, match="Permission denied"):
                way(reader)

    in_child(check)
    os.chmod(store.path, 0o755)


@pytest.mark.parametrize(
    "way", ["other process", "lock is gone", "lock is another one", "change was cut off", "not written"]
)
def test_that_something_was_committed_is_seen(store, way):
    """By one look at a file that stays open, whatever becomes of its name."""
    state = os.path.join(store.path, ".blobdir")
    store.put_many(generation(0))
    reader = ImageStore(store.path, "r")
    for _ in range(3):
        assert number_of(dict(reader)) == 0
    if way == "lock is gone":
        os.unlink(f"{state}/lock")
    elif way == "lock is another one":
        os.rename(f"{state}/lock", f"{state}/lock.old")
        with open(f"{state}/lock.old", "rb") as old, open(f"{state}/lock", "wb") as new:
            new.write(old.read())
    elif way == "change was cut off":
        with Child(lambda: commits(store.path, 1, 1000)):
            while number_of(dict(zip(NAMES, reader.get_many(NAMES), strict=True))) == 0:
                pass
        return
    elif way == "not written":
        with pytest.raises(BlobdirError), store:
            store.put_many({"": b""})
        assert number_of(dict(reader)) == 0
    in_child(lambda: store.put_many(generation(1)))
    assert number_of(dict(zip(NAMES, reader.get_many(NAMES), strict=True))) == 1
    assert number_of({name: reader[name] for name in NAMES}) == 1


@pytest.mark.parametrize("commits_before", [0, 1, 2])
@pytest.mark.parametrize("commits_of_others", [1, 2])
def test_a_count_that_begins_anew_deceives_no_writer(store, commits_before, commits_of_others):
    """Somebody has removed the lock's file: who goes by the count that is in it would put images there twice."""
    for number in range(commits_before):
        store.put_many(generation(number))
    if commits_before:
        os.unlink(f"{store.path}/.blobdir/lock")
    other = ImageStore(store.path)
    for number in range(commits_of_others):
        other.put_many({"1": b"%d" % number, "new": b""})
    assert store.put_many({"1": b"mine", "new": b""}) == (0, 2, 0)
    assert store["1"] == other["1"] == b"mine"
    assert not [one for one in verify(store.path).findings if one.severity == "error"]


@pytest.mark.parametrize("how", ["plain file", "offsets"])
@pytest.mark.parametrize("looks", [False, True])
def test_what_programs_without_a_lock_put_there_is_seen_by_who_writes(store, tmp_path, how, looks):
    store.put_many({"1.png": b"1"})
    time.sleep(0.02)  # a tick of the disk's clock
    if looks:
        assert store["1.png"] == b"1"
    if how == "plain file":
        with open(f"{store.path}/images/img/2.png", "wb") as file:
            file.write(b"theirs")
    else:
        other = ImageStore(tmp_path / "other")
        other.put_many({"2.png": b"theirs", "3.png": b"too"})
        for name in ("blob", "images"):
            (found,) = (one for one in os.listdir(f"{other.path}/{name}") if "store-" in one)
            shutil.copy(f"{other.path}/{name}/{found}", f"{store.path}/{name}/{found.replace('store-0000', 'x')}")
    assert store.put_many({"2.png": b"mine"}) == (0, 1, 0)
    assert dict(store) == {"1.png": b"1", "2.png": b"mine"} | ({"3.png": b"too"} if how == "offsets" else {})


def test_a_writer_who_commits_again_and_again_is_no_defect(store, monkeypatch):
    """What was listed in the middle of a change is listed again, also where that was so several times in a row."""
    store.put_many(generation(0))
    build, seen = choosing.build, []

    def busy(storage, *options):
        index = build(storage, *options)
        if len(seen) < 3:
            seen.append(index)
            index.header.defects.append(Defect("error", UNFINISHED, "images/img", "a change was cut off"))
            lock = ProjectLock(store.path)
            lock.note()
            lock.release()
        return index

    monkeypatch.setattr(choosing, "build", busy)
    assert number_of(dict(ImageStore(store.path, "r"))) == 0
    assert len(seen) == 3
