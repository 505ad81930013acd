"""Which of several columns is meant, and what the numbers of a table are: the cells say it, not the headers' order."""

from __future__ import annotations

import pytest
from label_cases import HEIGHT, WIDTH, draw

import blobdir

BOX = [[1, 2], [10, 11]]
ENDS = "xmin,ymin,xmax,ymax"
NUMBERS = ["0.png", "1.png", "2.png"]


def packed(tmp_path, text, images=NUMBERS, name="labels.csv"):
    source = tmp_path / "d"
    for path in images:
        draw(source / path)
    (source / name).parent.mkdir(parents=True, exist_ok=True)
    (source / name).write_text(text)
    report = blobdir.pack(source, tmp_path / "p", blobdir.PackOptions(labels="csv", processes=1))
    project = blobdir.open_project(tmp_path / "p")
    found = {
        f"{dataset.name}/{image}": [
            (one["classTitle"], one["points"]["exterior"]) for one in dataset.annotation(image)["objects"]
        ]
        for dataset in project.values()
        for image in dataset
    }
    return found, report


def told(report, code="label"):
    return [one.message for one in report.problems if one.code == code]


def classes(found):
    return {image.rpartition("/")[2]: [label for label, _ in some] for image, some in found.items() if some}


NUMBER_AND_NAME = [
    ("image_id", "image_name"),
    ("image", "path"),
    ("image", "image_path"),
    ("img", "file"),
    ("image_id", "fname"),
    ("image", "frame"),
    ("image_id", "name"),
]


@pytest.mark.parametrize("columns", NUMBER_AND_NAME)
@pytest.mark.parametrize("is_turned", [False, True])
@pytest.mark.parametrize("folder", ["", "images/"])
def test_names_of_images_count_before_numbers(columns, is_turned, folder, tmp_path):
    pairs = [columns, ("0", f"{folder}1.png"), ("1", f"{folder}2.png")]
    rests = [f"{ENDS},class", "1,2,10,11,a", "1,2,10,11,b"]
    lines = (",".join((*pair[:: -1 if is_turned else 1], rest)) for pair, rest in zip(pairs, rests, strict=True))
    found, report = packed(tmp_path, "\n".join(lines), [folder + one for one in NUMBERS])
    assert report.complete, report.problems
    assert classes(found) == {"1.png": ["a"], "2.png": ["b"]}


def test_stems_of_images_count_before_numbers(tmp_path):
    text = f"image_id,file,{ENDS},class\n0,b,1,2,10,11,x\n1,a,1,2,10,11,y\n"
    found, report = packed(tmp_path, text, ["a.png", "b.png", "0.png", "1.png"])
    assert report.complete and classes(found) == {"b.png": ["x"], "a.png": ["y"]}


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("image_id,image,{}\n0,1", NUMBERS),  # two numbers, and both are images
        ("filename,path,{}\na.png,b.png", ["a.png", "b.png"]),
        ("filename,path,{}\na.png,x/b.png", ["a.png", "x/b.png"]),
        ("image_id,file,{}\n0,gone", NUMBERS),  # the number may be of another image
        ("image_id,image,{}\n0,17", ["0.png", "1.png"]),
    ],
)
def test_columns_that_name_two_images_are_refused(text, images, tmp_path):
    head = f"{ENDS},class"
    rows = f"{text.format(head)},1,2,10,11,x\n"
    if "17" in text:
        rows += "9,18,1,2,10,11,x\n"
    found, report = packed(tmp_path, rows, images)
    assert classes(found) == {} and len(found) == len(images)
    (message,) = told(report)
    assert "is a table of boxes" in message and "isn't read" in message and "Take out" in message
    assert not report.complete


def test_names_that_are_missing_never_give_way_to_numbers(tmp_path):
    found, report = packed(tmp_path, f"image_id,file,{ENDS},class\n0,gone.png,1,2,10,11,x\n")
    assert classes(found) == {} and "gone.png" in told(report, "label-image")[0]


def test_a_path_counts_before_a_name_without_folders(tmp_path):
    text = f"filename,path,{ENDS},class\n1.png,x/1.png,1,2,10,11,a\n1.png,y/1.png,1,2,10,11,b\n"
    found, report = packed(tmp_path, text, ["x/1.png", "y/1.png"])
    assert report.complete
    assert classes(found) == {"x_1.png": ["a"], "y_1.png": ["b"]}


def test_two_columns_that_mean_the_same_image(tmp_path):
    text = f"image,path,{ENDS},class\n1,d/1.png,1,2,10,11,a\n2,d/2.png,1,2,10,11,b\n"
    found, report = packed(tmp_path, text)
    assert report.complete and classes(found) == {"1.png": ["a"], "2.png": ["b"]}


@pytest.mark.parametrize("column", ["frame", "fname", "img_name", "file_path", "image_file"])
def test_more_names_of_the_column_of_the_image(column, tmp_path):
    found, report = packed(tmp_path, f"{column},{ENDS},class_id\n1.png,1,2,10,11,7\n")
    assert report.complete and found["d/1.png"] == [("7", BOX)]


# -- classes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "columns",
    [("class", "class_name"), ("class", "name"), ("label", "category"), ("category_id", "label"), ("class_id", "name")],
)
@pytest.mark.parametrize("is_turned", [False, True])
def test_a_class_is_a_word_before_a_number(columns, is_turned, tmp_path):
    rows = [("3", "cat"), ("5", "dog")]
    head, cells = (columns[::-1], [row[::-1] for row in rows]) if is_turned else (columns, rows)
    text = "".join(f"{i}.png,1,2,10,11,{','.join(pair)}\n" for i, pair in enumerate(cells))
    found, report = packed(tmp_path, f"filename,{ENDS},{','.join(head)}\n{text}")
    assert classes(found) == {"0.png": ["cat"], "1.png": ["dog"]}
    assert report.complete and told(report, "label-note") == []


@pytest.mark.parametrize("rows", [["cat,vehicle", "dog,animal"], ["3,sedan", "3,van"], ["1,car", "2,car"]])
def test_two_columns_with_other_classes_are_said(rows, tmp_path):
    text = "".join(f"{i}.png,1,2,10,11,{row}\n" for i, row in enumerate(rows))
    _, report = packed(tmp_path, f"filename,{ENDS},class,category\n{text}")
    (note,) = told(report, "label-note")
    assert "'class'" in note and "'category'" in note


# -- splits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["set,split", "split,set", "subset,set"])
def test_the_split_is_the_column_that_says_one(head, tmp_path):
    cells = ("7", "train") if head != "split,set" else ("train", "7")
    found, report = packed(tmp_path, f"filename,{ENDS},class,{head}\n1.png,1,2,10,11,a,{','.join(cells)}\n")
    assert report.complete and "train/1.png" in found


def test_two_splits_of_one_row_are_refused(tmp_path):
    found, report = packed(tmp_path, f"filename,{ENDS},class,set,split\n1.png,1,2,10,11,a,train,val\n")
    assert classes(found) == {} and "two splits of one row" in told(report)[0]


def test_a_split_is_one_in_all_letters(tmp_path):
    rows = "".join(f"{i}.png,1,2,10,11,a,{split}\n" for i, split in enumerate(("Train", "TRAIN", "train")))
    found, report = packed(tmp_path, f"filename,{ENDS},class,split\n{rows}")
    assert set(found) == {"Train/0.png", "Train/1.png", "Train/2.png"}
    assert report.complete and len(told(report, "label-note")) == 2


# -- boxes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["image_id,label_name", "ImageID,LabelName", "image,label"])
@pytest.mark.parametrize(("columns", "last"), [(ENDS, "10,11"), ("x,y,w,h", "9,9")])
def test_numbers_above_one_are_pixels(head, columns, last, tmp_path):
    found, report = packed(tmp_path, f"{head},{columns}\n1,cat,1,2,{last}\n")
    assert report.complete and found["d/1.png"] == [("cat", BOX)]


@pytest.mark.parametrize(
    ("head", "rows", "is_read"),
    [
        ("ImageID,LabelName,IsGroupOf,", "1,cat,0,0,0,1,1\n", True),  # Open Images, and nothing else
        ("ImageID,LabelName,", "1,cat,0,0,1,1\n", False),
        ("ImageID,LabelName,", "1,cat,0,0,0.5,1\n", True),
        ("image,label,", "1,cat,0.1,0.1,0.5,0.9\n1,cat,0.2,0.1,0.5,0.9\n2,cat,0.1,0.1,0.5,3\n", False),
    ],
)
def test_shares_are_what_can_be_nothing_else(head, rows, is_read, tmp_path):
    found, report = packed(tmp_path, f"{head}{ENDS}\n{rows}")
    if is_read:
        (_, (_, (right, _))) = found["d/1.png"][0]
        assert report.complete and right in (WIDTH, WIDTH / 2)
    else:
        assert classes(found) == {}
        assert "pixels or shares" in told(report)[0]


@pytest.mark.parametrize(
    "columns", ["bw,bh,w,h", "w,h,bw,bh", "box_w,box_h,w,h", "w,h,bbox_width,bbox_height", "bw,bh,w,f", "f,bw,bh,h"]
)
def test_the_sides_that_say_box_come_together(columns, tmp_path):
    sides = {"w": WIDTH, "h": HEIGHT, "f": 3}
    values = ",".join(str(sides.get(one, 9)) for one in columns.split(","))
    found, report = packed(tmp_path, f"filename,x,y,{columns},class\n1.png,1,2,{values},cat\n")
    assert report.complete and found["d/1.png"] == [("cat", BOX)]


@pytest.mark.parametrize("columns", ["left,top,right,bottom", "x1,y1,x2,y2"])
def test_two_boxes_in_a_row_are_refused_if_they_differ(columns, tmp_path):
    head = f"filename,{ENDS},{columns},class\n"
    found, report = packed(tmp_path, f"{head}1.png,1,2,10,11,1,2,10,11,cat\n")
    assert report.complete and found["d/1.png"] == [("cat", BOX)]
    (tmp_path / "other").mkdir()
    found, report = packed(tmp_path / "other", f"{head}1.png,1,2,10,11,5,6,10,11,cat\n")
    assert classes(found) == {} and "two boxes" in told(report)[0]


def test_width_and_height_of_the_box_are_no_size_of_the_image(tmp_path):
    found, report = packed(tmp_path, f"filename,{ENDS},width,height,class\n1.png,1,2,10,11,9,9,cat\n")
    assert report.problems == [] and found["d/1.png"] == [("cat", BOX)]


@pytest.mark.parametrize("nothing", ["", "nan", "NaN", "None"])
def test_rows_of_a_class_that_has_no_boxes(nothing, tmp_path):
    empty = ",".join([nothing] * 4)
    text = f"image_id,class_name,class_id,rad_id,{ENDS}\n0,No finding,14,R11,{empty}\n1,Nodule,3,R10,1,2,10,11\n"
    found, report = packed(tmp_path, text)
    assert report.complete and classes(found) == {"1.png": ["Nodule"]}
    (note,) = told(report, "label-note")
    assert "'No finding'" in note


@pytest.mark.parametrize("rows", ["0,cat,,,,\n1,cat,1,2,10,11\n", "0,cat,,,,\n", "0,cat,1,,,\n1,dog,1,2,10,11\n"])
def test_a_box_that_is_missing_is_named(rows, tmp_path):
    _, report = packed(tmp_path, f"image,class,{ENDS}\n{rows}")
    assert len(told(report)) == 1 and not report.complete


# -- tables as people have them ------------------------------------------------------------------------------------


def test_traffic_signs(tmp_path):
    text = f"Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n1.png;{WIDTH};{HEIGHT};1;2;10;11;0\n"
    found, report = packed(tmp_path, text)
    assert report.problems == [] and found["d/1.png"] == [("0", BOX)]


def test_eight_columns_without_a_header(tmp_path):
    row = f"1,2,10,11,object,{WIDTH},{HEIGHT}\n"
    found, report = packed(tmp_path, f"1.png,{row}2.png,{row}")
    assert report.problems == [] and found["d/1.png"] == found["d/2.png"] == [("object", BOX)]


@pytest.mark.parametrize("row", ["10,11,9,9,object,60,50", "1,2,10,11,7,60,50", "1,2,10,11,object,a,b"])
def test_eight_columns_that_can_be_something_else(row, tmp_path):
    with pytest.raises(blobdir.errors.BlobdirError, match="no labels"):
        packed(tmp_path, f"1.png,{row}\n")


def test_a_second_column_of_pandas_is_another_one(tmp_path):
    found, report = packed(tmp_path, "image,class,x,y,w,h,x.1,y.1\n1.png,cat,1,2,9,9,5,6\n")
    assert report.complete and found["d/1.png"] == [("cat", BOX)]
