"""Ways to read images in Python, blobdir's and those of its peers, each as its documentation recommends.

A store is opened once, for names in the order in which they are asked for, and gives what is then timed.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

import blobdir
from benchmarks.peers import here

BATCH = 1000


@dataclass(frozen=True)
class Store:
    """A way to read images.

    Attributes
    ----------
    who : str
    key : callable
        Makes of a name what this store asks for, such as a path or a number. Done before anything is timed: a program
        that uses the store has its keys at hand.
    one : callable or None
        The bytes of a key. None: this store has no random reads.
    bulk : callable or None
        The bytes of many keys, in one call.
    stream : callable or None
        Gives the bytes of all images in the order in which they are stored.
    loop : callable or None
        Reads many keys with one call each, where a plain loop over `one` would measure Python.
    peer : str
        Its name in `benchmarks.peers.PEERS`; empty for what is always here.
    ours, headline : bool
        See `benchmarks.measure.Figure`.
    slow : bool
        Takes so long that a part of the names has to do.
    """

    who: str
    key: Callable[[str], Any] = str
    one: Callable[[Any], bytes] | None = None
    bulk: Callable[[list[Any]], list[bytes]] | None = None
    stream: Callable[[], Iterator[bytes]] | None = None
    loop: Callable[[list[Any]], None] | None = None
    peer: str = ""
    ours: bool = False
    headline: bool = False
    slow: bool = False

    def each(self, keys: list[Any]) -> None:
        """Read each with a call of its own, and drop it."""
        if self.loop:
            self.loop(keys)
            return
        assert self.one
        one = self.one
        for key in keys:
            one(key)


@contextlib.contextmanager
def stores(project: Path, plain: Path | None) -> Iterator[list[Store]]:
    """All that are here, for a project of one dataset ``train`` and one blob ``shard``, with its plain files if any."""
    with contextlib.ExitStack() as stack:
        tar = project / "blob/shard.tar"
        found = [stack.enter_context(pread(project)), *blobdir_stores(project)]
        if plain:
            found += plain_files(plain)
        if here("lmdb"):
            found.append(stack.enter_context(lmdb_store(project)))
        if here("wids"):
            found.append(stack.enter_context(wids_store(tar)))
        if here("webdataset"):
            found.append(webdataset_store(tar))
        if here("ratarmountcore"):
            found.append(stack.enter_context(ratarmountcore_store(tar)))
        found.append(fsspec_tar(tar))
        yield found


@contextlib.contextmanager
def pread(project: Path) -> Iterator[Store]:
    """The bare system call, with the ranges known beforehand: the floor."""
    tree = blobdir.open_project(project).tree
    descriptor = os.open(project / "blob/shard.tar", os.O_RDONLY)

    def key(name: str) -> tuple[int, int]:
        row = tree.find(f"train/img/{name}")
        return int(tree.index.size[row]), int(tree.index.offset[row])

    def loop(keys: list[tuple[int, int]]) -> None:
        read = os.pread
        for size, start in keys:
            read(descriptor, size, start)

    try:
        yield Store("os.pread, ranges known", key, lambda pair: os.pread(descriptor, *pair), loop=loop)
    finally:
        os.close(descriptor)


def blobdir_stores(project: Path) -> list[Store]:
    """The two ways in."""
    opened = blobdir.open_project(project)
    fs, train = opened.filesystem, opened["train"]

    def stream() -> Iterator[bytes]:
        stored = train.names
        for i in range(0, len(stored), BATCH):
            yield from train.read_many(stored[i : i + BATCH])

    return [
        Store(
            "blobdir: Dataset",
            one=train.get_blob_img_bytes,
            bulk=train.read_many,
            stream=stream,
            ours=True,
            headline=True,
        ),
        Store(
            "blobdir: fsspec",
            lambda name: f"train/img/{name}",
            one=fs.cat_file,
            bulk=lambda paths: list(fs.cat(paths).values()),
            ours=True,
        ),
    ]


def plain_files(plain: Path) -> list[Store]:
    """Opened by Python, and through fsspec."""
    local = fsspec.filesystem("file")

    def key(name: str) -> str:
        return f"{plain}/{name}"

    def one(path: str) -> bytes:
        with open(path, "rb") as stream:
            return stream.read()

    return [
        Store("plain files", key, one, stream=lambda: (one(key(name)) for name in sorted(os.listdir(plain)))),
        Store("plain files by fsspec", key, local.cat_file, lambda paths: list(local.cat(paths).values())),
    ]


def fsspec_tar(tar: Path) -> Store:
    """Fsspec's tar filesystem; it reads all headers when it is opened."""
    fs = fsspec.filesystem("tar", fo=str(tar), skip_instance_cache=True)
    return Store("fsspec's tar filesystem", one=fs.cat_file, stream=lambda: tar_members(tar), slow=True)


# -- peers that have to be installed -------------------------------------------------------------------------


@contextlib.contextmanager
def lmdb_store(project: Path) -> Iterator[Store]:
    """LMDB as image stores use it: a file, name -> bytes.

    Read-only, no lock, no read-ahead for random reads; one transaction for all reads, and cursors for many.
    """
    lmdb = importlib.import_module("lmdb")
    path = lmdb_file(project)
    environment = lmdb.open(
        str(path), subdir=False, readonly=True, lock=False, readahead=False, meminit=False, max_readers=1
    )
    with environment, environment.begin(buffers=False) as transaction:
        yield Store(
            "LMDB",
            str.encode,
            transaction.get,
            lambda keys: [value for _, value in transaction.cursor().getmulti(keys)],
            lambda: (value for _, value in transaction.cursor()),
            peer="lmdb",
        )


def lmdb_file(project: Path) -> Path:
    """The images of a project in LMDB, in the order of their names; made once."""
    lmdb = importlib.import_module("lmdb")
    path = project.with_name(f"{project.name}.lmdb")
    if not path.exists():
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        train = blobdir.open_project(project)["train"]
        names = train.names
        room = (project / "blob/shard.tar").stat().st_size * 3 + (64 << 20)
        with lmdb.open(str(part), subdir=False, map_size=room, lock=False, sync=False) as environment:
            for i in range(0, len(names), 10_000):
                with environment.begin(write=True) as transaction:
                    some = names[i : i + 10_000]
                    for name, data in zip(some, train.read_many(some), strict=True):
                        transaction.put(name.encode(), data, append=True)
            environment.sync(True)
        part.rename(path)
    return path


@contextlib.contextmanager
def wids_store(tar: Path) -> Iterator[Store]:
    """WebDataset's indexed shards: samples by number from a mapped tar whose headers were read when it was opened."""
    dataset = wids_dataset(tar)
    number = {name: i for i, name in enumerate(dataset.get_shard(0)[0].reader.names())}
    try:
        yield Store("wids", number.__getitem__, lambda i: dataset[i][".jpg"].read(), peer="wids")
    finally:
        dataset.close()


def wids_dataset(tar: Path) -> Any:
    """A `wids.ShardListDataset` of one shard, undecoded."""
    with contextlib.redirect_stderr(io.StringIO()):  # it prints what it was given
        wids = importlib.import_module("wids")
        count = wids.wids.compute_num_samples(str(tar))
        shards = [{"url": str(tar), "nsamples": count}]
        dataset = wids.ShardListDataset(shards, localname=lambda url: url, transformations=[], keep=True)
        dataset[0]  # opens the shard
    return dataset


def webdataset_store(tar: Path) -> Store:
    """WebDataset's own way, which is reading from beginning to end; it has no random reads."""
    webdataset = importlib.import_module("webdataset")

    def stream() -> Iterator[bytes]:
        dataset = webdataset.WebDataset(str(tar), shardshuffle=False, empty_check=False)
        return (sample["jpg"] for sample in dataset)

    return Store("WebDataset", stream=stream, peer="webdataset")


@contextlib.contextmanager
def ratarmountcore_store(tar: Path) -> Iterator[Store]:
    """Ratarmount's library, with the index that it keeps beside the tar."""
    with open_by_ratarmountcore(tar) as source:

        def one(path: str) -> bytes:
            with source.open(source.lookup(path)) as stream:
                return stream.read()

        yield Store("ratarmountcore", "/".__add__, one, peer="ratarmountcore", slow=True)


def open_by_ratarmountcore(tar: Path) -> Any:
    """A mount source, whose index is kept, and made where there is none."""
    factory = importlib.import_module("ratarmountcore.mountsource.factory")
    return factory.open_mount_source(str(tar), writeIndex=True, indexFilePath=str(ratarmount_index(tar)))


def ratarmount_index(tar: Path) -> Path:
    """Where ratarmount's index of a tar is kept: out of the project, so that nobody else sees it."""
    return tar.parent.parent.with_name(f"{tar.parent.parent.name}.ratarmount.sqlite")


def tar_members(tar: Path) -> Iterator[bytes]:
    """The members of a tar from beginning to end, by Python's own module."""
    with tarfile.open(tar, "r|") as archive:
        for member in archive:
            stream = archive.extractfile(member)
            assert stream
            yield stream.read()
