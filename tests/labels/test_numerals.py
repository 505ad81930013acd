"""Numbers count as numbers in files that nobody reads, however they are spelled and quoted."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

import pytest
from partly_cases import NAMES, said, written

from blobdir.labels.numerals import fours_in, is_number, numbers_in

LEFT = NAMES[4:]
WAYS = {
    "plain": "{}",
    "single quotes": "'{}'",
    "double quotes": '"{}"',
    "bytes of Python": "b'{}'",
}
SPELLED = {"whole": (10, 20, 30, 40), "with a zero": (0.51, 0.52, 0.21, 0.33), "without": (".51", ".52", "-.21", ".33")}
LINES = {
    "a dump of SQL": "INSERT INTO x VALUES ({name},{a},{b},{c},{d});\n",
    "a dict of Python": "{{'image': {name}, 'k': {a}, 'l': {b}, 'm': {c}, 'n': {d}}}\n",
    "a table": "{name},{a},{b},{c},{d}\n",
    "bars": "{name}|{a}|{b}|{c}|{d}\n",
    "a list in quotes": "{name};'{a} {b} {c} {d}'\n",
}


def lines(line, way, numbers, names=LEFT):
    parts = dict(zip("abcd", (WAYS[way].format(one) for one in numbers), strict=True))
    return "".join(LINES[line].format(name=WAYS[way].format(f"{name}.png"), **parts) for name in names)


@pytest.mark.parametrize("spelled", SPELLED)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("line", LINES)
def test_labels_of_a_part_are_named_however_their_numbers_are_spelled(line, way, spelled, tmp_path):
    files = {"extra.dat": lines(line, way, SPELLED[spelled])}
    found = said(written("yolo", tmp_path / "s", 4), tmp_path / "p", "yolo", files)
    assert len(found["label"]) == 1, found


@pytest.mark.parametrize("way", WAYS)
def test_corners_in_quotes_tell_labels_from_notes(way, tmp_path):
    files = {"extra.dat": lines("a table", way, SPELLED["whole"], NAMES)}
    found = said(written("yolo", tmp_path / "s", 5), tmp_path / "p", "yolo", files)
    assert len(found["label"]) == 1, found


def in_zip(text):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in LEFT:
            archive.writestr(f"labels/{name}.txt", text)
    return data.getvalue()


def in_tar(text):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name in LEFT:
            member = tarfile.TarInfo(f"labels/{name}.txt")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return data.getvalue()


PLACES = {
    "zip": lambda text: {"more.zip": in_zip(text)},
    "tar": lambda text: {"more.tar.gz": in_tar(text)},
    "gzip": lambda text: {f"more/{name}.txt.gz": gzip.compress(text.encode()) for name in LEFT},
    "texts of each": lambda text: {f"gt/{name}.txt": text for name in LEFT},
}


@pytest.mark.parametrize(
    ("place", "text"),
    [
        *((place, text) for place in PLACES for text in ("'0','10','20','30','40'\n", "cat .5 .5 .2 .2\n")),
        *((place, "0 .5 .5 .2 .2\n") for place in ("zip", "tar", "gzip")),
    ],
)
def test_labels_of_each_are_named_however_they_are_packed(place, text, tmp_path):
    found = said(written("voc", tmp_path / "s", 4), tmp_path / "p", "voc", PLACES[place](text))
    assert len(found["label"]) == 1, found


HARMLESS = {
    "names": "'{name}.png', '0004.txt', '0005.txt', '0006.txt', '0007.txt'\n",
    "dates": "'{name}.png', '2021-05-03', '2021-05-04', '10:20:30', '11:21:31'\n",
    "versions": "'{name}.png', 'v1.5', 'v2.0', '2.0rc1', '3.1b2'\n",
    "feet": "'{name}.png', 5'10 6'2 7'1 4'9\n",
    "words": "'{name}.png', a1 b2 c3 d4 'e5' 'f6'\n",
    "digests": "'{name}.png', '0a1f', '9e-3b', '77-1', '12ab'\n",
}


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_has_digits_is_no_label(text, tmp_path):
    files = {"extra.dat": "".join(HARMLESS[text].format(name=name) for name in LEFT)}
    found = said(written("yolo", tmp_path / "s", 4), tmp_path / "p", "yolo", files)
    assert not any(found.values()), found


@pytest.mark.parametrize(
    ("text", "count"),
    [
        *((".5 -.5 5. 1e3 .5e-3", 5), ("'1' \"2\" b'3' u'4'", 4), ("'1 2 3 4'", 4), ("['1','2']", 2), ("[1,2]", 2)),
        *(("a.5 v.5 1.5.jpg", 1), ("don't 5'10 x'3'", 0), ("12' 30", 1), ("2021-05-03 10:20", 0), ("0004.jpg /5", 0)),
    ],
)
def test_how_many_numbers_stand_there(text, count):
    assert numbers_in(text) == count


def test_what_is_a_number_and_four_together():
    assert all(map(is_number, (".5", "-1", "+1.", "1e-3"))) and not any(map(is_number, ("", ".", "1_0", "x", "1 2")))
    assert fours_in("'1','2','3','.4' 1 2 3") == 1 and fours_in("(1, 2, 3, 4), (5, 6, 7, 8).") == 2
