"""Rows of YOLO whose numbers are no shares of the image's sides are errors: pixels, confidences, numbers of tracks."""

from __future__ import annotations

import pytest
from label_cases import draw
from split_cases import messages, pack, put

import blobdir

GOOD = "0 0.5 0.5 0.2 0.2\n"
POSE = "kpt_shape: [2, 3]\n"
ODD = {
    "pixels": "0 20 30 40 50",
    "one in pixels": "0 0.5 0.5 0.2 20",
    "pixels with a confidence": "0 20 30 40 50 0.9",
    "an outline in pixels": "0 1 1 40 1 40 40",
    "a percentage": "0 0.5 0.5 0.2 0.2 87",
    "a track": "0 0.5 0.5 0.2 0.2 17",
    "a track behind a confidence": "0 0.5 0.5 0.2 0.2 0.9 2",
    "a box far to the left": "0 -0.5 0.5 0.2 0.2",
    "keypoints of a set that doesn't say so": "0 0.5 0.5 0.2 0.2 0.4 0.4 2 0.5 0.5 2",
}


def said(text, tmp_path, config="", labels="yolo"):
    for name in "ab":
        draw(tmp_path / f"s/images/{name}.png")
    put(tmp_path / "s/data.yaml", f"names: [cat]\n{config}")
    put(tmp_path / "s/labels/a.txt", GOOD)
    put(tmp_path / "s/labels/b.txt", text)
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels=labels)
    return report, blobdir.open_project(tmp_path / "p")["s"].annotation("b.png")["objects"]


@pytest.mark.parametrize("labels", ["auto", "yolo"])
@pytest.mark.parametrize("odd", ODD)
def test_the_row_is_named_and_is_no_object(odd, labels, tmp_path):
    report, found = said(f"{GOOD}\n{ODD[odd]}\n", tmp_path, labels=labels)
    assert [path.partition(":")[0] for path, _ in messages(report)] == ["labels/b.txt, line 3"], report.problems
    assert len(found) == 1 and not report.complete


@pytest.mark.parametrize("row", ["0 50 20 20 20 40 40 2 50 50 2", "0 0.5 0.5 0.2 0.2 40 40 2 0.5 0.5 2"])
def test_keypoints_in_pixels(row, tmp_path):
    report, found = said(row, tmp_path, POSE)
    assert "labels/b.txt, line 1" in messages(report)[0][0] and not found


@pytest.mark.parametrize("spelled", ["{}", "{}.0", "{}.", "{}.000000", "{}e0", "{:.18e}", "0{}"])
@pytest.mark.parametrize("confidence", ["", "0.9 "])
def test_the_first_track_is_known_by_the_others(confidence, spelled, tmp_path):
    rows = (f"0 0.5 0.5 0.2 0.2 {confidence}{spelled.format(i)}\n" for i in (1, 2, 3))
    report, found = said("".join(rows), tmp_path)
    assert len(messages(report)) == 3 and not found
    assert all("the number of a track" in text for _, text in messages(report))


@pytest.mark.parametrize(
    ("row", "config"),
    [
        *((GOOD, ""), ("0 0.95 0.95 0.2 0.2", ""), ("0 1.02 0.5 0.2 0.2", ""), ("0 0.5 0.5 1 1", "")),
        *(
            ("0 0.5 0.5 0.2 0.2 1", ""),
            ("0 0.5 0.5 0.2 0.2 1.0000001", ""),
            ("0 0 0 1 0 1 1", ""),
            ("0 0 0 1 0 1.05 1", ""),
        ),
        *(("0 0.5 0.5 0.2 0.2 1.4 0.4 2 0.5 -0.3 1", POSE), ("0 0.5 0.5 0.2 0.2 9 9 0 0.5 0.5 1", POSE)),
        ("0 0.5 0.5 0.2 0.2 0.4 2\n", "kpt_shape: [1, 2]\n"),
    ],
)
def test_what_reaches_over_the_edge_is_taken(row, config, tmp_path):
    report, found = said(row, tmp_path, config)
    assert report.complete and found, report.problems
