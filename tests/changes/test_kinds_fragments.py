"""What has parts of a removed image is found by `compact`, and what is only alike isn't called one."""

from __future__ import annotations

import tarfile

import pytest
from changes.samples import in_tar, picture, put, used

from blobdir.packing import compact, create_project, remove
from blobdir.packing.remains import Gone, Remains

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

LARGE = {name: picture(name, (80, 80)) for name in "ab"}


def with_hole(low, high):
    """What a download in segments leaves, and a file that's made as long as it's going to be."""
    return lambda data, at, size: data[: at + low] + bytes(high - low) + data[at + high :]


PARTS = {
    "its first block is lost": with_hole(0, 512),
    "its beginning is lost": with_hole(-4096, 5000),
    "its end isn't there yet": lambda data, at, size: data[: at + size // 2 + 77] + bytes(len(data) - at),
    "holes in it": lambda data, at, size: with_hole(1000, 9000)(with_hole(11000, 15001)(data, at, size), at, size),
    "only a part of it": lambda data, at, size: bytes(at + 8192) + data[at + 8192 : at + 12288],
    "no more than its last block": lambda data, at, size: with_hole(-at, size // 512 * 512 - 512)(data, at, size),
    "the file begins in it": lambda data, at, size: data[at + 5120 :],
    "the file begins and ends in it": lambda data, at, size: data[at + 5120 : at + 15000],
    "a hole, and the file ends": lambda data, at, size: bytes(at + 6000) + data[at + 6000 : at + 15000],
}  # fmt: skip


@pytest.mark.parametrize("is_sparse", [True, False])
@pytest.mark.parametrize("place", ["blob/x.part", "in a tar"])
@pytest.mark.parametrize("what", PARTS)
def test_parts_of_what_was_removed_are_named(tmp_path, what, place, is_sparse):
    """Whichever part of it a file has, if it's no more than a few blocks."""
    create_project(root := tmp_path / "p")
    images = {name: picture(name, (80, 80)) for name in "zaw"}
    used(root, "x", "train", {f"{name}.png": images[name] for name in "zaw"})
    at, end = in_tar(tmp_path / "t", images)["a"]
    data = PARTS[what]((root / "blob/x.tar").read_bytes(), at, end - at)
    if place == "in a tar":
        used(root, "y", "val", {".old": data, "w.png": images["w"]}, {"w.png": "w.png"})
        place = "blob/y.tar"
    elif is_sparse:
        with put(root / place, b"").open("r+b") as file:
            for low in range(0, len(data), 4096):
                if any(data[low : low + 4096]):
                    file.seek(low)
                    file.write(data[low : low + 4096])
            file.truncate(len(data))
    else:
        put(root / place, data)
    remove(root, ["train/a.png"])
    done = compact(root)
    assert (done.held, done.dropped) == ([place], 1)


def bitmap(pixels):
    """An image without compression: they all begin alike."""
    return b"BM" + bytes(8) + b"\x36\x0c\0\0" + bytes(range(256)) * 12 + pixels


DETAIL = picture("detail", (16, 16))
ALIKE = {
    "black": (bitmap(bytes(20000) + DETAIL), bitmap(bytes(30000))),
    "one colour": (bitmap(b"\1\2\3" * 9000 + DETAIL), bitmap(b"\1\2\3" * 12000)),
    "a row again and again": (bitmap(bytes(range(256)) * 60 + DETAIL), bitmap(bytes(range(256)) * 200)),
    "a long header": (bytes(range(256)) * 16 + DETAIL * 20, bytes(range(256)) * 16 + bytes(30000)),
    "parts of it": (LARGE["a"], LARGE["a"][:9000] + LARGE["b"][9000:]),
    "its end": (LARGE["a"], LARGE["b"][:10240] + LARGE["a"][10240:]),
    "one bit": (LARGE["a"], LARGE["a"][:9000] + bytes([LARGE["a"][9000] ^ 255 or 1]) + LARGE["a"][9001:]),
}


@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize("what", ALIKE)
def test_what_many_images_have_alike_is_no_copy(tmp_path, what, is_cut):
    create_project(root := tmp_path / "p")
    gone, other = ALIKE[what]
    used(root, "x", "train", {"a.png": gone, "b.png": picture("b")})
    in_tar(root / "blob/y.part", {"c.png": other, "d.png": other, "e.png": picture("e")})
    if is_cut:
        data = (root / "blob/y.part").read_bytes()
        put(root / "blob/y.part", bytes(512) + data[1024:-10240])
    remove(root, ["train/a.png"])
    done = compact(root)
    assert (done.held, done.dropped) == ([], 1)


@pytest.mark.parametrize("count", [1, 40])
def test_a_block_that_is_everywhere_costs_little(tmp_path, count, monkeypatch):
    """A row of pixels, say: a file isn't compared with a member as often as it has that row."""
    row = LARGE["b"][:512]
    members = [bytes([65 + i]) * 512 + picture(i, (40, 40))[:4096] + row + bytes([66 + i]) * 512 for i in range(count)]
    in_tar(tmp_path / "x.tar", {f"{i}.png": data for i, data in enumerate(members)})
    put(tmp_path / "y.tar", row * 20_000)
    with tarfile.open(tmp_path / "x.tar") as archive:
        gone = [Gone("x.tar", info.offset_data, info.offset_data + info.size, b"") for info in archive]
    looked = []
    plain = Remains._has_part
    monkeypatch.setattr(Remains, "_has_part", lambda *args: looked.append(args) or plain(*args))
    assert Remains(str(tmp_path), gone).find("y.tar") is None
    assert len(looked) <= 1000
