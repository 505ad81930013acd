"""One opening in a fresh process: ``probes.py KIND PROJECT KEPT`` opens, reads one image, prints JSON.

What it prints: seconds until the image was read, bytes of memory that this took, bytes kept on disk for the next time.
KEPT is a folder for what is kept. Imports come before the clock starts. The SDK's kind imports nothing of ours: its
interpreter needn't have it.
"""

import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def memory() -> int:
    """Bytes of this process that lie in memory now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def disk(*paths: str) -> int:
    """Bytes of files and of folders of files."""
    files = [f"{p}/{n}" for p in paths if os.path.isdir(p) for n in os.listdir(p)] + [
        p for p in paths if os.path.isfile(p)
    ]
    return sum(os.stat(file).st_size for file in files)


def blobdir_probe(project, kept, name):
    import blobdir
    import blobdir.demo

    blobdir.open_project(blobdir.demo.path(), index="none")  # imports what is imported late

    def opened():
        opened.keep = blobdir.open_project(project, index=kept)
        return opened.keep[next(iter(opened.keep))].get_blob_img_bytes(name)

    return opened, lambda: disk(kept)


def fsspec_tar_probe(project, kept, name):
    from fsspec.implementations.tar import TarFileSystem

    def opened():
        opened.keep = TarFileSystem(f"{project}/blob/shard.tar")
        return opened.keep.cat_file(name)

    return opened, lambda: 0


def ratarmountcore_probe(project, kept, name):
    from ratarmountcore.mountsource.factory import open_mount_source

    index = f"{kept}/index.sqlite"

    def opened():
        source = open_mount_source(f"{project}/blob/shard.tar", writeIndex=True, indexFilePath=index)
        with source.open(source.lookup(f"/{name}")) as file:
            opened.keep = source
            return file.read()

    return opened, lambda: disk(index)


def wids_probe(project, kept, name):
    import wids

    def opened():
        shards = [{"url": f"{project}/blob/shard.tar", "nsamples": 1}]
        dataset = wids.ShardListDataset(shards, localname=lambda url: url, transformations=[], keep=True)
        opened.keep = dataset
        return dataset[0][".jpg"].read()

    return opened, lambda: 0


def lmdb_probe(project, kept, name):
    import lmdb

    path = f"{project}.lmdb"

    def opened():
        environment = lmdb.open(path, subdir=False, readonly=True, lock=False, readahead=False, meminit=False)
        opened.keep = environment
        with environment.begin() as transaction:
            return transaction.get(name.encode())

    return opened, lambda: disk(path)


def sdk_probe(project, kept, name):
    from supervisely.api.image_api import BlobImageInfo

    def opened():
        found = {}
        for batch in BlobImageInfo.load_from_pickle_generator(f"{project}/train/shard_offsets.pkl"):
            for info in batch:
                found[info.name] = info
        opened.keep = found
        info = found[name]
        with open(f"{project}/blob/shard.tar", "rb") as file:
            file.seek(info.offset_start)
            return file.read(info.offset_end - info.offset_start)

    return opened, lambda: 0


def main(kind, project, kept):
    name = "image_00000000.jpg"
    opened, on_disk = globals()[f"{kind}_probe"](project, kept, name)
    before = memory()
    began = time.perf_counter()
    data = opened()
    seconds = time.perf_counter() - began
    grown = memory() - before
    assert data == b"data 0000000" or not data.strip(b"\0"), data[:20]  # small projects hold that, sparse ones nothing
    print(json.dumps([seconds, max(0, grown), on_disk()]))


if __name__ == "__main__":
    main(*sys.argv[1:4])
