"""A second label file in another encoding is read as the first one is, or named: never passed by."""

from __future__ import annotations

import bz2
import gzip
import lzma

import pytest
from label_cases import draw
from set_cases import OF_ALL, OF_ONE, classes

import blobdir
from blobdir.labels.files import encoding_of

WIDE = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
PACKED = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "ZIP": lambda data: b"PK\x03\x04" + gzip.compress(data),
}


def two(tmp_path, kind, change):
    """Two sets in folders, of which the second one's labels are written otherwise; what is packed of them."""
    for folder, label, turned in (("a", "outer", bytes), ("b", "inner", change)):
        draw(tmp_path / "s" / folder / f"{folder}.png")
        if kind in OF_ALL:
            name, text_of = OF_ALL[kind]
            text = text_of([f"{folder}.png"], label)
        else:
            _, ending, text_of = OF_ONE[kind]
            name, text = f"{folder}.{ending}", text_of(f"{folder}.png", label)
        (tmp_path / "s" / folder / name).write_bytes(turned(text.encode()))
    report = blobdir.pack(tmp_path / "s", tmp_path / "p", blobdir.PackOptions(labels=kind, processes=1))
    return report, classes(tmp_path / "p"), f"b/{name}"


@pytest.mark.parametrize("encoding", WIDE)
@pytest.mark.parametrize("kind", [*OF_ALL, "labelme", "voc"])
def test_a_second_file_of_wide_characters(kind, encoding, tmp_path):
    report, found, path = two(tmp_path, kind, lambda data: data.decode().encode(encoding))
    assert report.complete and report.objects == 2, (report.problems, path)
    assert sorted(found.values()) == [["inner"], ["outer"]]


@pytest.mark.parametrize("how", PACKED)
@pytest.mark.parametrize("kind", [*OF_ALL, "labelme", "voc"])
def test_a_second_file_that_is_packed(kind, how, tmp_path):
    report, _, path = two(tmp_path, kind, PACKED[how])
    assert report.objects == 1
    assert [one.path for one in report.problems if one.code == "label"] == [path]
    assert kind in OF_ONE or f"packed ({how}" in next(one for one in report.problems if one.path == path).message


@pytest.mark.parametrize("kind", [*OF_ALL])
def test_a_second_file_of_bytes(kind, tmp_path):
    """A text whose first letters aren't Latin, in UTF-16 without a mark, can't be told from other bytes."""
    report, _, path = two(tmp_path, kind, lambda data: ("имя" + data.decode()).encode("utf-16-le"))
    assert report.objects == 1
    assert [one.path for one in report.problems if one.code == "label"] == [path]


NO_TEXT = [b"\0\0\0\x18ftypheic", b"\0\0\1\0\1\0", b"I\0\1\2", b"MM\0*", b"a\0\xff\xff", b"", b"\0"]


@pytest.mark.parametrize("data", NO_TEXT)
def test_bytes_that_begin_with_nul_are_no_text_of_wide_characters(data):
    assert encoding_of(data) == "utf-8"
