"""Folders as data sets and tools have them: where images, labels and splits are."""

from __future__ import annotations

import json

import pytest
from label_cases import BOX, HEIGHT, MASK, POSE, WIDTH, WORLDS, World, coco_of, counts, draw, dump, write

import blobdir
from blobdir.converting import ConvertOptions, convert
from blobdir.labels.masks import compressed


def pack(source, target, **options):
    report = blobdir.pack(source, target, blobdir.PackOptions(**{"labels": "auto", "processes": 1} | options))
    return report, blobdir.open_project(target)


def objects(project):
    """Dataset/image -> class and geometry of each object."""
    found = {}
    for name, dataset in project.items():
        for image in dataset:
            found[f"{name}/{image}"] = [
                (one["classTitle"], one.get("points", one.get("nodes"))) for one in dataset.annotation(image)["objects"]
            ]
    return found


def box(left, top, right, bottom):
    return {"exterior": [[left, top], [right, bottom]], "interior": []}


def test_coco_2017(tmp_path):
    """Splits with the same names of images; three files of one split; an object of two of them is one."""
    boxes = WORLDS["boxes"]
    for split in ("train2017", "val2017"):
        for name in boxes.images:
            draw(tmp_path / "s" / split / name)
    dump(tmp_path / "s/annotations/instances_train2017.json", coco_of(boxes))
    poses = World({"a.png": [("cat", POSE)], "b.png": []}, keypoints=["left", "middle", "right"])
    instances = coco_of(World({"a.png": [("cat", WORLDS["outlines"].images["a.png"][0][1])], "b.png": []}))
    keypoints = coco_of(poses)
    for key in ("bbox", "area"):
        keypoints["annotations"][0][key] = instances["annotations"][0][key]
    dump(tmp_path / "s/annotations/person_keypoints_val2017.json", keypoints)
    dump(tmp_path / "s/annotations/instances_val2017.json", instances)
    captions = {"images": instances["images"], "annotations": [{"id": 1, "image_id": 0, "caption": "eine Katze"}]}
    dump(tmp_path / "s/annotations/captions_val2017.json", captions)
    report, project = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete, report.problems
    assert {name: list(dataset) for name, dataset in project.items()} == {
        "train2017": ["a.png", "b.png"],
        "val2017": ["a.png", "b.png"],
    }
    ours = project["val2017"].annotation("a.png")
    assert [(one["classTitle"], one["geometryType"], one["instance"]) for one in ours["objects"]] == [
        ("cat", "graph", "coco-1000"),
        ("cat_mask", "polygon", "coco-1000"),
    ]
    assert ours["tags"] == [{"name": "caption", "value": "eine Katze"}]
    assert convert(tmp_path / "p", tmp_path / "o", ConvertOptions("coco")).complete
    back = json.loads((tmp_path / "o/val2017/annotations/coco_instances.json").read_bytes())
    (annotation,) = back["annotations"]
    assert annotation["segmentation"] and annotation["keypoints"] and annotation["id"] == 1000
    back = json.loads((tmp_path / "o/val2017/annotations/coco_captions.json").read_bytes())
    assert [one["caption"] for one in back["annotations"]] == ["eine Katze"]
    pack(tmp_path / "o", tmp_path / "again")
    assert objects(blobdir.open_project(tmp_path / "again")) == objects(project)


@pytest.mark.parametrize("splits", [("train", "valid", "test")])
def test_coco_of_roboflow(splits, tmp_path):
    for split in splits:
        for name in WORLDS["boxes"].images:
            draw(tmp_path / "s" / split / name)
        dump(tmp_path / "s" / split / "_annotations.coco.json", coco_of(WORLDS["boxes"]))
    report, project = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and sorted(project) == sorted(splits) and report.objects == 12


def test_coco_with_pieces_and_compressed_masks(tmp_path):
    world = World({"a.png": [("cat", MASK)]})
    source = write("coco", tmp_path / "s", world)
    value = coco_of(world)
    value["annotations"][0]["segmentation"]["counts"] = compressed(counts(MASK))
    pieces = [[1.5, 2, 9, 2, 9, 9.25], [20.0, 20, 29, 20, 29, 29]]
    more = {"id": 7, "image_id": 0, "category_id": 0, "iscrowd": 0, "area": 62.5, "bbox": [1.5, 2, 27.5, 27]}
    value["annotations"].append(more | {"segmentation": pieces, "score": 0.25})
    dump(source / "annotations/instances_train.json", value)
    _, project = pack(source, tmp_path / "p")
    assert [one.get("instance") for one in project["train"].annotation("a.png")["objects"]] == [
        "coco-1000",
        "coco-7",
        "coco-7",
    ]
    convert(tmp_path / "p", tmp_path / "o", ConvertOptions("coco"))
    back = json.loads((tmp_path / "o/train/annotations/coco_instances.json").read_bytes())
    assert back["annotations"] == value["annotations"]


YAMLS = {
    "roboflow": (
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n",
        "{split}/images",
        "{split}/labels",
    ),
    "ultralytics": (
        "path: ../datasets/s\ntrain: images/train\nval: images/valid\ntest: images/test\n",
        "images/{split}",
        "labels/{split}",
    ),
    "lists": ("train: train.txt\nval: valid.txt\ntest: test.txt\n", "images", "labels"),
}


@pytest.mark.parametrize("layout", YAMLS)
def test_yolo_layouts(layout, tmp_path):
    text, images, labels = YAMLS[layout]
    root = tmp_path / "s"
    for number, split in enumerate(("train", "valid", "test")):
        name = f"{number}.png" if layout == "lists" else "a.png"
        draw(root / images.format(split=split) / name)
        path = root / labels.format(split=split) / f"{name[0]}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number} 0.5 0.5 0.2 0.4\n")
        if layout == "lists":
            (root / f"{split}.txt").write_text(f"./images/{name}\n")
    (root / "data.yaml").write_text(f"{text}nc: 3\nnames: ['a', 'b', 'c']\n")
    report, project = pack(root, tmp_path / "p")
    assert report.complete, report.problems
    expected = box(40, 15, 60, 35)
    assert {name: objects[0] for name, objects in objects(project).items()} == {
        f"{split}/{number if layout == 'lists' else 'a'}.png": (title, expected)
        for number, (split, title) in enumerate([("train", "a"), ("val", "b"), ("test", "c")])
    }


def test_yolo_beside_its_images(tmp_path):
    """As labelImg writes it; and without any names."""
    draw(tmp_path / "s/a.png")
    (tmp_path / "s/a.txt").write_text("1 0.5 0.5 0.2 0.4 0.75\n")
    _, project = pack(tmp_path / "s", tmp_path / "p")
    assert objects(project) == {"s/a.png": [("1", box(40, 15, 60, 35))]}
    (tag,) = project["s"].annotation("a.png")["objects"][0]["tags"]
    assert tag == {"name": "confidence", "value": 0.75}
    (tmp_path / "s/classes.txt").write_text("ant\nbee\n")
    _, project = pack(tmp_path / "s", tmp_path / "q")
    assert objects(project) == {"s/a.png": [("bee", box(40, 15, 60, 35))]}
    convert(tmp_path / "q", tmp_path / "o", ConvertOptions("yolo"))
    assert (tmp_path / "o/labels/s/a.txt").read_text() == "1 0.500000 0.500000 0.200000 0.400000 0.75"


def test_yolo_with_labels_of_no_image(tmp_path):
    source = write("yolo", tmp_path / "s", WORLDS["boxes"])
    (source / "labels/orphan.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    report, _ = pack(source, tmp_path / "p")
    (problem,) = report.problems
    assert (problem.code, problem.path) == ("label-image", "labels/orphan.txt")


def test_voc_devkit(tmp_path):
    source = write("voc", tmp_path / "s", WORLDS["boxes"])
    (source / "ImageSets/Main/train.txt").write_text("a\n")
    (source / "ImageSets/Main/val.txt").write_text("b\n")
    (source / "ImageSets/Main/trainval.txt").write_text("a\nb\n")
    (source / "ImageSets/Main/cat_train.txt").write_text("a  1\n")
    draw(source / "SegmentationObject/a.png")
    path = source / "Annotations/a.xml"
    path.write_text(
        path.read_text().replace("<difficult>1", "<pose>Left</pose><truncated>1</truncated><difficult>0", 1)
    )
    report, project = pack(source, tmp_path / "p")
    assert report.complete and {name: list(one) for name, one in project.items()} == {
        "train": ["a.png"],
        "val": ["b.png"],
    }
    tags = project["train"].annotation("a.png")["objects"][0]["tags"]
    assert tags == [{"name": "truncated", "value": None}, {"name": "pose", "value": "Left"}]
    convert(tmp_path / "p", tmp_path / "o", ConvertOptions("voc"))
    again, second = pack(tmp_path / "o", tmp_path / "again")
    assert again.complete
    assert second["train"].annotation("a.png") == project["train"].annotation("a.png")
    assert (tmp_path / "o/VOCdevkit/VOC/ImageSets/Main/val.txt").read_text() == "b\n"


def test_cvat_attributes_and_round_shapes(tmp_path):
    draw(tmp_path / "s/a.png")
    (tmp_path / "s/annotations.xml").write_text(
        f"""<annotations><image id="4" name="dir\\a.png" width="{WIDTH}" height="{HEIGHT}">
        <tag label="night"><attribute name="rain">yes</attribute></tag>
        <box label="car" xtl="1" ytl="2" xbr="3" ybr="4" occluded="1"><attribute name="colour">red</attribute></box>
        <ellipse label="car" cx="50" cy="25" rx="20" ry="10"/>
        <box label="car" xtl="10" ytl="10" xbr="30" ybr="20" rotation="90"/>
        <points label="car" points="1,1;2,2"/>
        <cuboid label="car" xtl1="1"/>
        </image><track id="0" label="car"/></annotations>"""
    )
    report, project = pack(tmp_path / "s", tmp_path / "p")
    assert [(p.path, p.message.partition(",")[0]) for p in report.problems if p.code == "label"] == [
        ("annotations.xml, line 6", "has 2 points in one object"),
        ("annotations.xml, line 7", "is a <cuboid>"),
        ("annotations.xml, line 8", "is a track of a video"),
    ]
    found = project["s"].annotation("a.png")
    assert found["tags"] == [{"name": "night", "value": None}, {"name": "rain", "value": "yes"}]
    first, second, third = found["objects"]
    assert first["tags"] == [{"name": "colour", "value": "red"}, {"name": "occluded", "value": None}]
    assert len(second["points"]["exterior"]) == 72 and third["geometryType"] == "polygon"
    corners = {(round(x), round(y)) for x, y in third["points"]["exterior"]}
    assert corners == {(25, 5), (25, 25), (15, 25), (15, 5)}


def test_labelme_groups_flags_and_circles(tmp_path):
    draw(tmp_path / "s/a.png")
    one = {
        "label": "cat",
        "shape_type": "polygon",
        "points": [[1, 1], [9, 1], [9, 9]],
        "group_id": 3,
        "flags": {"old": True},
    }
    other = one | {"points": [[20, 20], [29, 20], [29, 29]]}
    circle = {"label": "sun", "shape_type": "circle", "points": [[30, 20], [30, 30]], "description": "round"}
    value = {"version": "5.0", "flags": {"day": True, "night": False}, "imagePath": "..\\a.png", "imageData": None}
    dump(tmp_path / "s/a.json", value | {"shapes": [one, other, circle], "imageWidth": WIDTH, "imageHeight": HEIGHT})
    report, project = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and report.objects == 2
    found = project["s"].annotation("a.png")
    assert found["tags"] == [{"name": "day", "value": None}]
    by_title = {}
    for item in found["objects"]:
        by_title.setdefault(item["classTitle"], []).append(item)
    assert [item["instance"] for item in by_title["cat"]] == ["labelme-3"] * 2
    assert by_title["sun"][0]["tags"] == [{"name": "description", "value": "round"}]
    convert(tmp_path / "p", tmp_path / "o", ConvertOptions("coco"))
    back = json.loads((tmp_path / "o/s/annotations/coco_instances.json").read_bytes())
    assert sorted(len(annotation["segmentation"]) for annotation in back["annotations"]) == [1, 2]


@pytest.mark.parametrize(
    "text",
    [
        "image,label,x,y,w,h\na.png,cat,10,5,20,15\n",
        "filename;class;xmin;ymin;xmax;ymax\na.png;cat;10;5;30;20\n",
        "path\tcategory\tx1\ty1\tx2\ty2\timages/a.png\tcat\t10\t5\t30\t20\n".replace("\timages", "\nimages"),
        "a.png,10,5,30,20,cat\nb.png,,,,,\n",
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded\na,x,cat,1,0.1,0.3,0.1,0.4,0\n",
        'filename,width,height,class,xmin,ymin,xmax,ymax,split\na.png,100,50,"cat",10,5,30,20,s\n',
    ],
)
def test_tables(text, tmp_path):
    for name in ("a.png", "b.png"):
        draw(tmp_path / "s" / name)
    (tmp_path / "s/boxes.csv").write_text(text)
    report, project = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete, report.problems
    rest = "no_split" if ",split\n" in text else "s"  # the folder is called like the split
    assert objects(project) == {"s/a.png": [("cat", box(10, 5, 30, 20))], f"{rest}/b.png": []}


def test_one_dataset_for_all_splits(tmp_path):
    """Images of one name get their folders' in front, as always."""
    for split in ("train", "valid"):
        draw(tmp_path / "s" / split / "a.png")
        dump(tmp_path / "s" / split / "_annotations.coco.json", coco_of(World({"a.png": [("cat", BOX)]})))
    report, project = pack(tmp_path / "s", tmp_path / "p", dataset="all")
    assert {name: list(dataset) for name, dataset in project.items()} == {"all": ["train_a.png", "valid_a.png"]}
    assert report.objects == 2 and [p.code for p in report.problems] == ["label-note", "renamed"]
    convert(tmp_path / "p", tmp_path / "o", ConvertOptions("coco"))
    value = json.loads((tmp_path / "o/all/annotations/coco_instances.json").read_bytes())
    assert len({image["id"] for image in value["images"]}) == 2
    for image in value["images"]:
        assert (tmp_path / "o/all/images" / image["file_name"]).is_file()
