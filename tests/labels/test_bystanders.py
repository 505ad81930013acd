"""What lies beside YOLO's labels and is none: captions, predictions, places of a camera, logs. None is an error."""

from __future__ import annotations

import json

import pytest
from label_cases import draw
from split_cases import messages, pack, put

NAMES = [f"img_{i:03d}" for i in range(6)]
YOLO = "0 0.5 0.5 0.2 0.2\n"
CAPTION = "a photo of {0} dogs, 3 trees\n"
LONG = "masterpiece, best quality, 1girl, {0} dogs, 3 trees, 4 birds, 2 cats, 5 cars\n"
TWO_LINES = "A dog runs.\n{0} dogs run over 2.5 lawns.\n"
BOXES = "{0} 0.5 0.5 0.1 0.1 0.93\n"
CAPTIONS = {
    "info": {},
    "images": [{"id": i, "file_name": f"{name}.png", "width": 60, "height": 50} for i, name in enumerate(NAMES)],
    "annotations": [{"id": i, "image_id": i, "caption": "two dogs"} for i in range(len(NAMES))],
}


def texts(folder, text):
    """A text for each image."""
    return {f"{folder}/{name}.txt": text.format(i) for i, name in enumerate(NAMES)}


BESIDE = {
    "captions": (texts("images", CAPTION), 1),
    "long captions": (texts("images", LONG), 1),
    "captions of two lines": (texts("images", TWO_LINES), 1),
    "captions of some": (dict(list(texts("images", CAPTION).items())[2:]), 1),
    "captions in a folder": (texts("captions", CAPTION), 1),
    "captions without spaces": (texts("images", "草地上有{0}只狗\n"), 1),
    "notes on all": ({"notes.txt": "a note on 2 dogs\n", "images/notes.txt": "a note\n"}, 0),
    "poses": ({"poses.txt": "1 0 0 0 0 1 0 0 0 0 1 0\n" * 6}, 0),
    "a trajectory": ({"cam/trajectory.txt": "1 0 0 0 0 0 1\n" * 6}, 0),
    "COCO's captions": ({"captions_train2017.json": json.dumps(CAPTIONS)}, 1),
    "a log of Weights & Biases": (
        {
            "wandb/run-20240101_1/files/media/images/val_0.png": None,
            "wandb/run-20240101_1/files/media/table/x.json": json.dumps([[f"{n}.png", 1, 2, 3, 4] for n in NAMES]),
        },
        1,
    ),
    "one of MLflow": ({"mlruns/0/abc/artifacts/val_0.png": None}, 1),
    "one of Lightning": ({"lightning_logs/version_0/val_0.png": None}, 1),
}
OF_SOME = {"predictions": (texts("preds", BOXES), 1), "others": (texts("out/detections", BOXES), 1)}


def said(tmp_path, files, labelled):
    """What is said of files beside a set, by codes; and how many images are packed."""
    root = tmp_path / "set"
    for i, name in enumerate(NAMES):
        draw(root / f"images/{name}.png")
        if i < labelled:
            put(root / f"labels/{name}.txt", YOLO)
    put(root / "classes.txt", "cat\n")
    for path, text in files.items():
        if text is None:
            draw(root / path)
        else:
            put(root / path, text)
    report, _ = pack(root, tmp_path / "out", labels="auto")
    found = {code: messages(report, code) for code in ("label", "label-image", "label-note")}
    return found, len(list((tmp_path / "out").rglob("ann/*.json")))


@pytest.mark.parametrize("labelled", [len(NAMES), 3])
@pytest.mark.parametrize(("files", "count"), BESIDE.values(), ids=BESIDE)
def test_what_is_no_label_costs_nothing(tmp_path, files, count, labelled):
    found, images = said(tmp_path, files, labelled)
    assert (found["label"], found["label-image"], images) == ([], [], len(NAMES))
    assert len(found["label-note"]) == count


@pytest.mark.parametrize(("files", "count"), OF_SOME.values(), ids=OF_SOME)
def test_predictions_of_labelled_images_are_one_note(tmp_path, files, count):
    found, _ = said(tmp_path, files, len(NAMES))
    assert (found["label"], found["label-image"], len(found["label-note"])) == ([], [], count)


@pytest.mark.parametrize(("files", "count"), OF_SOME.values(), ids=OF_SOME)
def test_those_of_others_are_one_problem(tmp_path, files, count):
    found, _ = said(tmp_path, files, 3)
    assert (found["label"], len(found["label-image"]), found["label-note"]) == ([], count, [])


NO_PROSE = {
    "a name for a class": "cat 0.5 0.5 0.2 0.2\n",
    "pixels": "1 2 30 40 a big dog on a lawn\n",
    "a word": "cat\n",
    "a box behind words": "a dog at (1, 2, 30, 40) on a lawn\n",
}


@pytest.mark.parametrize("text", NO_PROSE.values(), ids=NO_PROSE)
@pytest.mark.parametrize("labelled", [len(NAMES), 3])
def test_lines_that_may_be_boxes_are_named(tmp_path, text, labelled):
    found, _ = said(tmp_path, texts("images", text), labelled)
    assert found["label"]


def test_coco_with_boxes_is_a_second_format(tmp_path):
    boxes = CAPTIONS | {"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}]}
    boxes |= {"categories": [{"id": 1, "name": "cat"}]}
    with pytest.raises(Exception, match="COCO .* and YOLO"):
        said(tmp_path, {"all.json": json.dumps(boxes)}, 3)


def test_texts_in_a_folder_of_labels_are_never_prose(tmp_path):
    found, _ = said(tmp_path, {"labels/img_005.txt": "a photo of 2 dogs\n"}, 3)
    assert found["label"]
