"""The reader of mounts: ``read_files.py FOLDER NAMES_FROM COMPARE_WITH [PART OF]`` prints seconds of two passes.

With PART OF, it reads every OF-th file, and one pass. ``read_files.py --forget FOLDER`` asks the kernel to drop the
pages of FOLDER's files. It imports nothing that isn't in Python.
"""

import json
import os
import random
import sys
import time


def forget(folder: str) -> None:
    """Drop the pages of all files."""
    for name in os.listdir(folder):
        descriptor = os.open(f"{folder}/{name}", os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def main(folder: str, names_from: str, compare_with: str, part: int = 0, of: int = 0) -> None:
    """Read everything, twice."""
    names = sorted(os.listdir(names_from))
    random.Random(1).shuffle(names)
    if of:
        names = names[part::of]
    paths = [f"{folder}/{name}" for name in names]
    seconds = []
    for _ in range(1 if of else 2):
        began = time.perf_counter()
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY)
            os.read(descriptor, 65536)
            os.close(descriptor)
        seconds.append(time.perf_counter() - began)
    for name in names[:50]:
        with open(f"{folder}/{name}", "rb") as ours, open(f"{compare_with}/{name}", "rb") as theirs:
            if ours.read() != theirs.read():
                sys.exit(f"{name} isn't the same as in {compare_with}")
    print(json.dumps(seconds))


if sys.argv[1] == "--forget":
    forget(sys.argv[2])
else:
    main(*sys.argv[1:4], *map(int, sys.argv[4:6]))
