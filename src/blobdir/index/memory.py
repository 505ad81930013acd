"""Memory for the columns of an index."""

from __future__ import annotations

import functools
import mmap
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_PAGE: Final = 4096
_LARGE_PAGE: Final = 2 << 20
_LARGE_ORDER: Final = 9
"""Order of the free blocks in ``/proc/buddyinfo`` that are a large page, or more."""
_VIRTIO = "/sys/bus/virtio/devices"
_BALLOON, _REPORTING = 5, 5
"""Number of the kind of device, and of its feature."""


def allocate(sizes: Mapping[str, int]) -> dict[str, memoryview]:
    """Memory for each part, in one piece: a part begins at a page.

    To find fresh small pages takes as long as to read what comes into them. Large ones are asked for where there are
    free ones; to make some, the kernel would have to move others, and everybody would wait for that. And in a virtual
    machine that gives free large pages back to its host, each must first be got from there, which takes longer still.
    """
    starts, end = {}, 0
    for name, size in sizes.items():
        starts[name], end = end, end + -(-size // _PAGE) * _PAGE
    memory = mmap.mmap(-1, max(end, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if end >= _LARGE_PAGE and not _gives_back() and _free_large_pages() * _LARGE_PAGE > 2 * end:
        with suppress(OSError, AttributeError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    view = memoryview(memory)
    return {name: view[starts[name] : starts[name] + size] for name, size in sizes.items()}


def _free_large_pages() -> int:
    found = 0
    with suppress(OSError, ValueError), open("/proc/buddyinfo", "rb") as file:
        for line in file:
            free = line.split()[4 + _LARGE_ORDER :]
            found += sum(int(count) << order for order, count in enumerate(free))
    return found


@functools.cache
def _gives_back() -> bool:
    """Whether free large pages go back to the host: a balloon with "free page reporting" (virtio 1.2, 5.5.3)."""
    found = False
    with suppress(OSError), os.scandir(_VIRTIO) as devices:
        for device in devices:
            with suppress(OSError, ValueError):
                if int(_text(f"{device.path}/device"), 16) == _BALLOON:
                    found |= _text(f"{device.path}/features")[_REPORTING : _REPORTING + 1] == "1"
    return found


def _text(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()
