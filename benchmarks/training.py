"""A training epoch: PyTorch's DataLoader with two workers that decode with Pillow, from several places."""

from __future__ import annotations

import contextlib
import importlib
import io
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from PIL import Image

import blobdir
from benchmarks.data import SIDE, plain_folder, real_project
from benchmarks.measure import Outcome
from benchmarks.mount_peers import blobdir_engines, ratarmount
from benchmarks.peers import here
from benchmarks.stores import lmdb_file, wids_dataset

PEERS = ("torch", "mounting", "kernel engine", "ratarmount", "lmdb", "wids", "webdataset")
BATCH, WORKERS = 64, 2
EPOCH = "an epoch, each image"


def decode(data: Any) -> np.ndarray:
    """Pixels of an image: what a training has to do with whatever it reads."""
    with Image.open(data if hasattr(data, "read") else io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


class Images:
    """A map-style dataset: decoded images by number.

    Parameters
    ----------
    keys : list
        What `read` takes.
    open_reader : callable
        Gives the function that reads the bytes of a key; called once in each worker, as such datasets do.
    """

    def __init__(self, keys: list[Any], open_reader: Callable[[], Callable[[Any], Any]]) -> None:
        self.keys = keys
        self.open_reader = open_reader
        self.read: Callable[[Any], Any] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, i: int) -> np.ndarray:
        if self.read is None:
            self.read = self.open_reader()
        return decode(self.read(self.keys[i]))


class Bulk(Images):
    """Ditto, with a batch's images read by one call (``__getitems__``)."""

    def __getitems__(self, numbers: list[int]) -> list[np.ndarray]:
        if self.read is None:
            self.read = self.open_reader()
        return [decode(data) for data in self.read([self.keys[i] for i in numbers])]


def run(folder: Path, images: int, rounds: int) -> Outcome:
    """One epoch over all images, from each place."""
    outcome = Outcome(
        "A training epoch",
        f"{images:,} JPEG images of {SIDE} × {SIDE} pixels, shuffled; PyTorch's `DataLoader`, {WORKERS} workers (forked), "
        f"batches of {BATCH}, decoded by Pillow, no training step; page cache warm. From the start of the loop to its last "
        "batch, workers' start included. WebDataset shuffles in a buffer of 1,000 and reads one shard for each worker; "
        "mounts have served nothing before. The sum of all pixels is compared with that of the plain files.",
    )
    if not here("torch"):
        return outcome
    project, plain = real_project(folder, images), plain_folder(folder, images)
    names = sorted(path.name for path in plain.iterdir())
    sources = _sources(project, plain, names)
    expected = None
    found: dict[str, list[float]] = {}
    for turn in range(rounds + 1):
        for who, (_, _, source) in sources.items():
            with source() as loader:
                seconds, count, total = _epoch(loader)
            expected = expected or (images, total)
            assert (count, total) == expected, f"{who}: {count} images with sum {total}, not {expected}"
            if turn:  # the first warms and makes what is kept
                found.setdefault(who, []).append(seconds / images)
    for who, values in found.items():
        peer, headline, _ = sources[who]
        ours = who.startswith("blobdir")
        outcome.figure(EPOCH, who, values, peer=peer, ours=ours, headline=headline)
    return outcome


def _epoch(loader: Any) -> tuple[float, int, int]:
    count = total = 0
    began = time.perf_counter()
    for batch in loader:
        count += len(batch)
        total += int(batch.sum())
    return time.perf_counter() - began, count, total


def _loader(dataset: Any, **more: Any) -> Any:
    torch = importlib.import_module("torch")
    torch.manual_seed(5)
    context = multiprocessing.get_context("fork")
    return torch.utils.data.DataLoader(
        dataset, batch_size=BATCH, num_workers=WORKERS, multiprocessing_context=context, **more
    )


def _sources(project: Path, plain: Path, names: list[str]) -> dict[str, tuple[str, bool, Callable[[], Any]]]:
    """By who reads: (peer, headline, what gives a context manager that gives a loader)."""

    def files(at: str) -> Any:
        return _loader(Images([f"{at}/{name}" for name in names], lambda: _open_file), shuffle=True)

    def direct(kind: type[Images], keys: list[Any], open_reader: Callable[[], Callable[[Any], Any]]) -> Any:
        return lambda: contextlib.nullcontext(_loader(kind(keys, open_reader), shuffle=True))

    def by_mount(peer: Any) -> Any:
        @contextlib.contextmanager
        def source() -> Iterator[Any]:
            peer.warm()
            with peer.mounted() as (at, _):
                yield files(str(at))

        return source

    opened = blobdir.open_project(project)
    paths = [f"train/img/{name}" for name in names]
    train = opened["train"]

    def by_fsspec() -> Callable[[str], bytes]:
        return fsspec.filesystem("blobdir", fo=str(project)).cat_file  # type: ignore[no-any-return]

    sources: dict[str, tuple[str, bool, Callable[[], Any]]] = {
        "blobdir: Dataset": ("", True, direct(Images, names, lambda: train.get_blob_img_bytes)),
        "blobdir: Dataset, read_many": ("", False, direct(Bulk, names, lambda: train.read_many)),
        "blobdir: fsspec": ("", False, direct(Images, paths, by_fsspec)),
        "plain files": ("", False, lambda: contextlib.nullcontext(files(str(plain)))),
    }
    if here("mounting"):
        for peer in blobdir_engines(project):
            if peer.who in ("blobdir native", "blobdir kernel"):
                sources[f"{peer.who} mount"] = (peer.peer, True, by_mount(peer))
        if here("ratarmount"):
            sources["ratarmount"] = ("ratarmount", False, by_mount(ratarmount(project / "blob/shard.tar")))
    if here("lmdb"):
        path = str(lmdb_file(project))
        sources["LMDB"] = ("lmdb", False, direct(Images, [name.encode() for name in names], lambda: _lmdb(path)))
    tar = project / "blob/shard.tar"
    if here("wids"):
        sources["wids"] = ("wids", False, lambda: contextlib.nullcontext(_loader(_Wids(tar, len(names)), shuffle=True)))
    if here("webdataset"):
        shards = _shards(project, WORKERS)
        sources["WebDataset"] = ("webdataset", False, lambda: contextlib.nullcontext(_web(shards)))
    return sources


def _open_file(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _lmdb(path: str) -> Callable[[bytes], bytes]:
    lmdb = importlib.import_module("lmdb")
    environment = lmdb.open(path, subdir=False, readonly=True, lock=False, readahead=False, meminit=False)
    return environment.begin(buffers=False).get  # type: ignore[no-any-return]


class _Wids:
    def __init__(self, tar: Path, count: int) -> None:
        self.dataset = wids_dataset(tar)
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> np.ndarray:
        return decode(self.dataset[i][".jpg"])


def _shards(project: Path, count: int) -> list[str]:
    """The images again, in as many tars as there are workers: WebDataset gives each worker whole shards."""
    tarfile = importlib.import_module("tarfile")
    train = blobdir.open_project(project)["train"]
    names = train.names
    random.Random(7).shuffle(names)  # as its documentation recommends before packing
    shards = [project.with_name(f"{project.name}-web-{i}.tar") for i in range(count)]
    for i, shard in enumerate(shards):
        if shard.exists():
            continue
        part = shard.with_suffix(".part")
        with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
            some = names[i::count]
            for name, data in zip(some, train.read_many(some), strict=True):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        part.rename(shard)
    return [str(shard) for shard in shards]


def _web(shards: list[str]) -> Any:
    webdataset = importlib.import_module("webdataset")
    dataset = webdataset.WebDataset(shards, shardshuffle=len(shards), empty_check=False).shuffle(1000)
    return _loader(dataset.map(lambda sample: decode(sample["jpg"])))
