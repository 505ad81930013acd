"""Which columns of a table are the box's: those that are called so, in all spellings, and never the image's size."""

from __future__ import annotations

import pytest
from label_cases import HEIGHT, WIDTH, draw

import blobdir
from blobdir.errors import BlobdirError

BOX = [[1, 2], [10, 11]]


def pack(tmp_path, *tables):
    source = tmp_path / "d"
    source.mkdir()
    draw(source / "0.png")
    for i, text in enumerate(tables):
        (source / f"labels_{i}.csv").write_bytes(text.encode())
    report = blobdir.pack(source, tmp_path / "p", blobdir.PackOptions(labels="auto", processes=1))
    project = blobdir.open_project(tmp_path / "p")
    objects = project["d"].annotation("0.png")["objects"]
    return [one["points"]["exterior"] for one in objects], [p for p in report.problems if p.code == "label"]


ENDS = [
    "x0,y0,x1,y1",
    "X Min,y-min,x_max,YMAX",
    "x1,y1,x2,y2",
    "bbox_x1,bbox_y1,x2,y2",
    "bb_x1,bb_y1,bb_x2,bb_y2",
    "Roi.X1,Roi.Y1,Roi.X2,Roi.Y2",
]
SIDES = ["x,y,bw,bh", "x,y,box_w,box_h", "bbox x,bbox y,bbox width,bbox height", "x,y,w,h"]


@pytest.mark.parametrize(("columns", "last"), [*((one, "10,11") for one in ENDS), *((one, "9,9") for one in SIDES)])
@pytest.mark.parametrize("before", ["", "width,height,"])
def test_ends_and_sides_in_all_spellings(columns, last, before, tmp_path):
    values = f"{WIDTH},{HEIGHT}," if before else ""
    text = f"image,{before}label,{columns}\n0.png,{values}cat,1,2,{last}\n"
    assert pack(tmp_path, text) == ([BOX], [])


@pytest.mark.parametrize("last", ["3", "4"])
def test_corners_make_an_outline(last, tmp_path):
    corners = [(5, 1), (10, 6), (5, 11), (1, 6)][: int(last)]
    columns = ",".join(f"x{i},y{i}" for i in range(1, len(corners) + 1))
    values = ",".join(f"{x},{y}" for x, y in corners)
    found, problems = pack(tmp_path, f"image,label,{columns}\n0.png,cat,{values}\n")
    assert (found, problems) == ([[list(one) for one in corners]], [])


@pytest.mark.parametrize(
    "columns",
    [
        "xmin,ymin,xmax,y_end",
        "xmin,ymin,right_x,down_y",
        "x min,xmin,ymin,xmax",
        "x0,y0,x2,y2",
        "x,y,x1,y1",
        "x,y,w,rows",
        "bbox,a,b,c",
    ],
)
def test_columns_that_are_unclear_are_never_guessed(columns, tmp_path):
    text = f"image,width,height,label,{columns}\n0.png,60,50,cat,1,2,10,11\n"
    with pytest.raises(BlobdirError, match=f"labels_0.csv is a table of boxes, and it.*{columns.replace(',', ', ')}"):
        pack(tmp_path, text)


def test_an_unclear_table_beside_another_is_named(tmp_path):
    found, problems = pack(
        tmp_path,
        "image,label,x0,y0,x1,y1\n0.png,cat,1,2,10,11\n",
        "image,width,height,label,x,y,x_end\n0,60,50,cat,5,5,9\n",
    )
    assert found == [BOX]
    assert [one.path for one in problems] == ["labels_1.csv"]
    assert "Call them xmin" in problems[0].message


def test_a_table_without_a_class_is_named(tmp_path):
    with pytest.raises(BlobdirError, match="no column for the class"):
        pack(tmp_path, "image,xmin,ymin,xmax,ymax\n0.png,1,2,10,11\n")


@pytest.mark.parametrize("columns", ["width,height", "w,h", "Width,Height"])
def test_sides_that_are_those_of_the_image_are_named(columns, tmp_path):
    head = f"image,{columns},label,x,y\n"
    found, problems = pack(tmp_path, f"{head}0.png,{WIDTH},{HEIGHT},cat,1,2\n0.png,{WIDTH},{HEIGHT},cat,0,0\n")
    assert found == []
    assert [one.path for one in problems] == ["labels_0.csv, line 2", "labels_0.csv, line 3"]
    assert "bbox_width" in problems[0].message


@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_sides_called_width_and_height(end, tmp_path):
    rows = ["image,label,x,y,width,height", "0.png,cat,1,2,9,9", f"0.png,cat,0,0,{WIDTH},{HEIGHT}"]
    found, problems = pack(tmp_path, end.join(rows))
    assert (found, problems) == ([BOX, [[0, 0], [WIDTH, HEIGHT]]], [])
