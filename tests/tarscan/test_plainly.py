"""What can be told of a member by one block is what all its headers say."""

from __future__ import annotations

import io
import random
import tarfile

import pytest

from blobdir.tarscan import member_before, says_plainly
from blobdir.tarscan.source import BLOCK

NAMES = [b"a", b"a.png", b"b/a.png", b"a.png.png", b"aa.png", b"n" * 99, b"n" * 100, b"n" * 120, "нет.png".encode()]
SIZES = [0, 1, 7, 8, 511, 4096, 8**11 - 1, 8**11]


def headers(name, size, kind):
    """All that stands before the member's data."""
    info = tarfile.TarInfo(name.decode())
    info.size = size
    return info.tobuf(kind, "utf-8", "surrogateescape")


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_it_agrees_with_all_headers(kind):
    plain = 0
    for name in NAMES:
        for size in SIZES:
            try:
                data = headers(name, size, kind)
            except ValueError:  # what USTAR can't have
                continue
            found = member_before(data)
            assert (found.name, found.size) == (name, size)
            for called in NAMES:
                for said in SIZES:
                    if says_plainly(data, called, said):
                        assert said == size
                        assert name == called or name.endswith(b"/" + called)
            is_short = len(name) < 99 and name.isascii() and 0 < size < 8**11
            assert not is_short or says_plainly(data, name, size)
            plain += is_short
    assert plain > 20


def test_damaged_blocks_say_nothing():
    source, data = random.Random(7), headers(b"b/a.png", 4096, tarfile.GNU_FORMAT)
    assert len(data) == BLOCK and says_plainly(data, b"a.png", 4096)
    for place in [*range(7), *range(124, 136), 156]:
        for _ in range(20):
            byte = source.randrange(256)
            if byte != data[place] and not (place == 135 and byte in b" \0") and not (place == 156 and byte == 0):
                changed = data[:place] + bytes([byte]) + data[place + 1 :]
                found = changed.find(b"\0", 0, 100)
                is_same = changed[:found] == b"a.png" or changed[:found].endswith(b"/a.png")
                assert not says_plainly(changed, b"a.png", 4096) or (is_same and place < 7)
    for cut in (data[1:], data[:-1], b"", io.BytesIO(data).read(100)):
        assert not says_plainly(cut, b"a.png", 4096)
