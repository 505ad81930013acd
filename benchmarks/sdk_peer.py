"""The SDK's side, run by an interpreter that has it: ``sdk_peer.py PROJECT IMAGES`` prints JSON.

It times itself and, in the same run, the bare system call.
"""

import json
import os
import statistics
import sys
import tempfile
import time


def timed(thing, rounds):
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        thing()
        found.append(time.perf_counter() - began)
    return statistics.median(found), min(found), max(found)


def main():
    project, rounds = sys.argv[1], int(sys.argv[2])
    import supervisely as sly
    from supervisely.api.image_api import BlobImageInfo

    pickle = os.path.join(project, "train", "shard_offsets.pkl")
    tar = os.path.join(project, "blob", "shard.tar")
    infos = [info for batch in BlobImageInfo.load_from_pickle_generator(pickle) for info in batch]
    dataset = sly.Dataset.__new__(sly.Dataset)  # a project whose every image has an annotation isn't needed for this
    dataset._project_dir = project
    dataset._blob_offset_paths = [pickle]
    names = [infos[len(infos) * i // 7].name for i in range(1, 6)]
    wanted = {info.name: info for info in infos}
    fd = os.open(tar, os.O_RDONLY)
    ranges = [(wanted[n].offset_end - wanted[n].offset_start, wanted[n].offset_start) for n in names] * 200

    def sdk_images():
        for name in names:
            info = wanted[name]
            assert dataset.get_blob_img_bytes(name) == os.pread(
                fd, info.offset_end - info.offset_start, info.offset_start
            )

    def preads():
        for size, start in ranges:
            os.pread(fd, size, start)

    def offsets():
        with tempfile.TemporaryDirectory() as folder:
            sly.fs.save_blob_offsets_pkl(tar, folder)

    def load():
        for _ in BlobImageInfo.load_from_pickle_generator(pickle):
            pass

    print(
        json.dumps(
            {
                "version": sly.__version__,
                "image_s": [s / len(names) for s in timed(sdk_images, rounds)],
                "pread_s": [s / len(ranges) for s in timed(preads, rounds)],
                "offsets_s": timed(offsets, rounds),
                "load_s": timed(load, rounds),
            }
        )
    )


main()
