"""What programs write around their labels: first lines, names of columns, texts beside them, places in configs."""

from __future__ import annotations

import json

import pytest
from label_cases import draw
from set_cases import classes
from split_cases import messages, pack, put

import blobdir
from blobdir.errors import UsageError

HEADER, ROW = "filename,class,xmin,ymin,xmax,ymax\n", "a.png,cat,1,1,9,9\n"


@pytest.mark.parametrize(
    "text",
    [
        "sep=,\n" + HEADER + ROW,
        "\ufeffsep=,\r\n" + (HEADER + ROW).replace("\n", "\r\n"),
        "\n" + HEADER + ROW,
        "\n \n" + HEADER + "\n" + ROW,
        ("sep=;\n" + HEADER + ROW).replace(",", ";"),
        "sep=,\na.png,1,1,9,9,cat\n",
        "label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name,image_width,image_height\ncat,1,1,8,8,a.png,100,50\n",
    ],
)
def test_tables_begin_in_several_ways(text, tmp_path):
    draw(tmp_path / "s/a.png")
    (tmp_path / "s/l.csv").write_text(text, newline="")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and report.objects == 1


def test_a_row_of_a_table_keeps_its_line(tmp_path):
    draw(tmp_path / "s/a.png")
    put(tmp_path / "s/l.csv", "sep=,\n" + HEADER + ROW + "b.png,cat,1,1,9,9\n")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert [path for path, _ in messages(report, "label-image")] == ["l.csv, line 4"]


@pytest.mark.parametrize(
    "row",
    [
        "a.png,1,1,9,9,cat, black",
        "a.png,1,1,9,9,cat,b.png,2,2,8,8,dog",
        "a.png,1,1,9,9,cat,,x",
        "0,a.png,1,1,9,9,cat",
    ],
)
@pytest.mark.parametrize("header", ["filename,xmin,ymin,xmax,ymax,class\n", "b.png,1,1,9,9,cat\n"])
def test_rows_with_more_fields_than_columns_are_named(header, row, tmp_path):
    """What is in which can't be told: a text with a comma, two rows in a line, a column without a name."""
    for name in ("a.png", "b.png"):
        draw(tmp_path / "s" / name)
    put(tmp_path / "s/l.csv", f"{header}{row}\nb.png,1,1,9,9,cat,\n")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.images == 2 and report.objects == 1 + header.startswith("b")
    ((path, text),) = messages(report)
    assert path == "l.csv, line 2" and "fields, and there are 6 columns" in text


@pytest.mark.parametrize(("most", "is_share"), [("1.0000001", True), ("1.004", True), ("1.5", False), ("12", False)])
def test_shares_of_boxes_at_the_edge_may_be_a_little_more(most, is_share, tmp_path):
    draw(tmp_path / "s/a.png")
    put(tmp_path / "s/l.csv", f"{HEADER}a.png,cat,-0.0001,0.5,0.5,1\na.png,cat,0.1,0.5,{most},1\n")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert any("taken for shares" in text for _, text in messages(report, "label-note")) is is_share
    found = blobdir.open_project(tmp_path / "p")["s"].annotation("a.png")["objects"]
    if is_share:
        assert found[0]["points"]["exterior"][1][0] > 40
    else:
        assert found == [] and "pixels or shares" in messages(report)[0][1]


@pytest.mark.parametrize("width", ["600", "600.0", "600."])
def test_sizes_that_are_said_in_a_table(width, tmp_path):
    draw(tmp_path / "s/a.png")
    put(tmp_path / "s/l.csv", f"filename,width,height,class,xmin,ymin,xmax,ymax\na.png,{width},50,cat,1,1,9,9\n")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert len(messages(report, "label-size")) == 1


@pytest.mark.parametrize("folder", ["", "hat/", "data/hat/"])
@pytest.mark.parametrize("name", ["README.dataset.txt", "README.roboflow.txt", "Readme.txt"])
def test_an_export_of_roboflow_in_a_folder(name, folder, tmp_path):
    """Its places begin with ``../``, and are seen from the folder of ``data.yaml`` all the same."""
    root = tmp_path / "s"
    for split, place in (("train", "train"), ("val", "valid")):
        draw(root / folder / place / f"images/{split}.png")
        put(root / folder / place / f"labels/{split}.txt", "0 .5 .5 .2 .2\n")
    put(root / folder / "data.yaml", "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: [cat]\n")
    put(root / folder / f"labels/{name}", "provided by a user\n")
    report, found = pack(root, tmp_path / "p")
    assert report.complete and not report.problems, report.problems
    assert found == {"train": ["train.png"], "val": ["val.png"]}


def test_one_name_is_said_as_one(tmp_path):
    draw(tmp_path / "s/a.png")
    put(tmp_path / "s/a.txt", "3 .5 .5 .2 .2\n")
    put(tmp_path / "s/classes.txt", "cat\n")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert "there is only 1 name" in messages(report)[0][1]


def test_a_file_of_a_format_that_is_not_known_is_named(tmp_path):
    draw(tmp_path / "s/images/a.png")
    put(tmp_path / "s/README.txt", "of me\n")
    put(
        tmp_path / "s/label_2/a.txt",
        "Car 0.00 0 -1.82 804.79 167.34 995.43 327.94\n",
    )
    with pytest.raises(UsageError, match=r"known \(label_2/a.txt is something else\); there are"):
        blobdir.pack(tmp_path / "s", tmp_path / "p", blobdir.PackOptions(labels="auto", processes=1))


@pytest.mark.parametrize("second", ["bndbox", "name", "polygon", "robndbox"])
def test_what_an_object_of_voc_has_twice_is_named(second, tmp_path):
    """The first counts; the other was lost without a word."""
    inner = {
        "name": "<name>dog</name>",
        "robndbox": "<robndbox><cx>5</cx><cy>5</cy><w>4</w><h>4</h><angle>0</angle></robndbox>",
        "polygon": "<polygon><x1>1</x1><y1>1</y1><x2>9</x2><y2>1</y2><x3>9</x3><y3>9</y3></polygon>",
        "bndbox": "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>",
    }
    draw(tmp_path / "s/a.png")
    own = "<name>cat</name>" + (inner[second] if second != "name" else inner["bndbox"])
    put(tmp_path / "s/a.xml", f"<annotation>\n<object>{own}\n{inner[second]}</object></annotation>")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.objects == 1 and classes(tmp_path / "p") == {"a.png": ["cat"]}
    assert messages(report) == [
        ("a.xml, line 3", f"is the second <{second}> of an object, of which the first was taken")
    ]


BNDBOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"


@pytest.mark.parametrize(
    ("own", "second"),
    [
        (BNDBOX.replace("<ymin>", "\n<xmin>2</xmin><ymin>"), "is the second <xmin> of a box"),
        (f"{BNDBOX}<pose>A</pose>\n<pose>B</pose>", "is the second <pose> of an object"),
        (f"{BNDBOX}<difficult>0</difficult>\n<difficult>1</difficult>", "is the second <difficult> of an object"),
        (f"{BNDBOX}<occluded>0</occluded>\n<occluded>1</occluded>", "is the second <occluded> of an object"),
        (f"{BNDBOX}<deleted>0</deleted>\n<deleted>1</deleted>", "is the second <deleted> of an object"),
        (f"{BNDBOX}<attributes>a</attributes>\n<attributes>b</attributes>", "is the second <attributes> of an object"),
        (f"{BNDBOX}</object><size><width>1</width></size>\n<size><width>2</width></size><object>{BNDBOX}", "<size>"),
        (f"{BNDBOX}</object><image>\n<object><name>cat</name>{BNDBOX}</object></image><object>{BNDBOX}", "elsewhere"),
    ],
)
def test_what_a_file_of_voc_has_twice_is_named(own, second, tmp_path):
    draw(tmp_path / "s/a.png")
    text = f"<annotation><object><name>cat</name>{own}</object></annotation>".replace(
        "<object><b", "<object><name>x</name><b"
    )
    put(tmp_path / "s/a.xml", text)
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    ((path, said),) = messages(report)
    assert path == "a.xml, line 2" and second in said and classes(tmp_path / "p")["a.png"][0] == "cat"
    put(tmp_path / "s/a.xml", text.replace("B</pose>", "A</pose>").replace(">1</diff", ">0</diff"))
    report, _ = pack(tmp_path / "s", tmp_path / "q")
    assert bool(messages(report)) == ("pose" not in second and "difficult" not in second)


def test_an_attribute_of_voc_that_is_there_twice_is_kept(tmp_path):
    draw(tmp_path / "s/a.png")
    one = "<attribute><name>a</name><value>{}</value></attribute>"
    given = f"<attributes>{one.format(1)}\n{one.format(2)}{one.format(1)}</attributes>"
    put(tmp_path / "s/a.xml", f"<annotation><object><name>cat</name>{BNDBOX}{given}</object></annotation>")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and messages(report, "label-note")[0][0] == "a.xml, line 2"
    (thing,) = blobdir.open_project(tmp_path / "p")["s"].annotation("a.png")["objects"]
    assert {tag["name"]: tag["value"] for tag in thing["tags"]} == {"a": "1", "a_": "2"}


def test_a_file_of_voc_with_two_names_is_of_no_image(tmp_path):
    draw(tmp_path / "s/a.png")
    draw(tmp_path / "s/b.png")
    names = "<filename>a.png</filename><filename>b.png</filename>"
    put(tmp_path / "s/a.xml", f"<annotation>{names}<object><name>cat</name>{BNDBOX}</object></annotation>")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.objects == 0
    assert [path for path, text in messages(report, "label-image") if "two <filename>" in text] == ["a.xml"]


def test_objects_of_voc_in_an_element_of_theirs(tmp_path):
    draw(tmp_path / "s/a.png")
    objects = f"<objects><object><name>cat</name>{BNDBOX}</object></objects>"
    put(tmp_path / "s/a.xml", f"<annotation>{objects}</annotation>")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert not report.problems and classes(tmp_path / "p") == {"a.png": ["cat"]}


@pytest.mark.parametrize("names", [["a", "a"], ["a", 3], "ab", [{"x": 1}, "b"], ["a", ""]])
def test_keypoints_without_good_names_cost_themselves_only(names, tmp_path):
    report = coco(tmp_path, {"keypoints": names, "skeleton": [[1, 2]]}, {})
    assert report.objects == 1 and classes(tmp_path / "p") == {"a.png": ["cat"]}
    assert [path for path, _ in messages(report)] == ["l.json: categories[0]"]


def coco(tmp_path, category, thing):
    draw(tmp_path / "s/a.png")
    value = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 8, 8]} | thing],
        "categories": [{"id": 1, "name": "cat"} | category],
    }
    put(tmp_path / "s/l.json", json.dumps(value))
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    return report


@pytest.mark.parametrize("skeleton", [[[0, 1]], [[1, 3]], "none", [[1]]])
def test_a_skeleton_that_cannot_be_read_costs_itself_only(skeleton, tmp_path):
    keypoints = {"keypoints": [1, 1, 2, 9, 9, 2], "num_keypoints": 2}
    report = coco(tmp_path, {"keypoints": ["a", "b"], "skeleton": skeleton}, keypoints)
    assert report.objects == 1 and classes(tmp_path / "p")["a.png"][0] == "cat"
    assert [path for path, _ in messages(report)] == ["l.json: categories[0]"]


@pytest.mark.parametrize("outlines", [[[]], [[], []], []])
def test_outlines_with_nothing_in_them_leave_the_box(outlines, tmp_path):
    report = coco(tmp_path, {}, {"segmentation": outlines})
    assert report.objects == 1 and not report.problems


@pytest.mark.parametrize("word", ["0_1", "\u0660", "\uff11", "1_0.5"])
@pytest.mark.parametrize("at", [0, 1, 4])
def test_numbers_are_what_other_languages_read_as_such(word, at, tmp_path):
    words = ["0", "0.5", "0.5", "0.2", "0.2"]
    words[at] = word
    draw(tmp_path / "s/a.png")
    put(tmp_path / "s/classes.txt", "cat\n")
    put(tmp_path / "s/a.txt", " ".join(words) + "\n")
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels="yolo")
    ((path, text),) = messages(report)
    assert "a.txt" in path + text and repr(word) in text


@pytest.mark.parametrize("value", [True, False, "1_0"])
def test_a_truth_is_no_number(value, tmp_path):
    draw(tmp_path / "s/a.png")
    put(tmp_path / "s/c.json", json.dumps(one_box([value, 1, 3, 4], "cat")))
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels="coco")
    ((_, text),) = messages(report)
    assert "not a number" in text


def test_objects_of_a_category_that_cannot_be_used_say_so(tmp_path):
    draw(tmp_path / "s/a.png")
    put(tmp_path / "s/c.json", json.dumps(one_box([1, 1, 3, 4], "\ud800")))
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels="coco")
    texts = [text for _, text in messages(report)]
    assert len(texts) == 2 and any(text.endswith("the category 1, which can't be used") for text in texts)


def one_box(box, name):
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 80}],
        "categories": [{"id": 1, "name": name}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": box}],
    }


@pytest.mark.parametrize("file", ["x.odgt", "train/metadata.jsonl", "output.manifest"])
def test_the_only_file_that_may_be_one_of_labels_is_named(file, tmp_path):
    draw(tmp_path / "s/a.png")
    put(tmp_path / "s" / file, '{"ID": "a", "boxes": [[1, 2, 3, 4]]}\n')
    with pytest.raises(UsageError, match=rf"known \({file} is something else\); there are"):
        pack(tmp_path / "s", tmp_path / "p")


@pytest.mark.parametrize("path", ["blob/x.tar", "blob/SHA256SUMS", "blob"])
def test_blobs_are_said_not_to_be_shown(path, tmp_path):
    draw(tmp_path / "s/a.png")
    blobdir.pack(tmp_path / "s", tmp_path / "p")
    with pytest.raises(FileNotFoundError, match="serves images from its blobs"):
        blobdir.open_project(tmp_path / "p").filesystem.info(path)
