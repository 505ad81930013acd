"""Files that say splits and are no tables, no JSON and no YAML; and those that say them by numbers."""

from __future__ import annotations

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from label_cases import draw
from split_cases import messages, pack, put

NAMES = [f"img_{i:03d}" for i in range(6)]
SPLITS = {"train": NAMES[:4], "val": NAMES[4:]}
FILES = [(f"{name}.png", split) for split, names in SPLITS.items() for name in names]


def written(root, *, in_folders=False):
    """YOLO's labels of six images, which folders say a split of or nothing does."""
    put(root / "classes.txt", "cat\n")
    for name, split in FILES:
        folder = f"images/{split}" if in_folders else "images"
        draw(root / folder / name)
        put((root / folder.replace("images", "labels") / name).with_suffix(".txt"), "0 0.5 0.5 0.2 0.2\n")
    return root


def said(root, target, files):
    for path, data in files.items():
        put(root / path, "")
        (root / path).write_bytes(data if isinstance(data, bytes) else data.encode())
    report, datasets = pack(root, target, labels="yolo")
    return [one for one in messages(report) if one[0] in files], datasets, report


def array(names):
    data = io.BytesIO()
    np.save(data, np.array(names))
    return data.getvalue()


def zipped(files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return data.getvalue()


def lines(names):
    return "".join(f"{name}\n" for name in names)


SAYING = {
    "xml": {"split.xml": "<s>" + "".join(f'<i name="{name}" set="{split}"/>' for name, split in FILES) + "</s>"},
    "xml with a name before": {"split.xml": "<s>" + "".join(f"<{s}>{name}</{s}>" for name, s in FILES) + "</s>"},
    "sections": {"split.ini": "".join(f"[{split}]\n{lines(names)}" for split, names in SPLITS.items())},
    "a program": {
        "split.py": "".join(f"{split.upper()} = {[f'{n}.png' for n in names]}\n" for split, names in SPLITS.items())
    },
    "a mapping in a line": {
        "splits.js": f"var s = {json.dumps({s: [f'{n}.png' for n in names] for s, names in SPLITS.items()})}"
    },
    "a pickle": {"splits.pkl": pickle.dumps({s: [f"{n}.png" for n in names] for s, names in SPLITS.items()})},
    "arrays": {f"splits/{split}.npy": array([f"{n}.png" for n in names]) for split, names in SPLITS.items()},
    "arrays of names without extension": {f"splits/{split}.npy": array(names) for split, names in SPLITS.items()},
    "arrays of bytes": {f"splits/{s}.npy": array([n.encode() for n in names]) for s, names in SPLITS.items()},
    "packed": {
        "splits.zip": zipped(
            {f"{split}.csv": lines(f"{n}.png,{split}" for n in names) for split, names in SPLITS.items()}
        )
    },
    "the folder of a list": {f"ImageSets/{split}/all.txt": lines(names) for split, names in SPLITS.items()},
    "the same with endings": {
        f"lists/{split}/files.txt": lines(f"{n}.png" for n in names) for split, names in SPLITS.items()
    },
    "numbers in JSON": {"split.json": json.dumps({"train": [0, 1, 2, 3], "val": [4, 5]})},
    "numbers in lists": {"train_idx.txt": "0\n1\n2\n3\n", "val_idx.txt": "4\n5\n"},
    "held out": {"holdout.txt": lines(f"{n}.png" for n in SPLITS["val"])},
    "held out, without ending": {"eval_set.txt": lines(SPLITS["val"])},
}


@pytest.mark.parametrize("file", SAYING)
def test_a_file_that_says_splits_is_named_where_images_are_of_none(file, tmp_path):
    found, _, report = said(written(tmp_path / "s"), tmp_path / "p", SAYING[file])
    assert {path for path, _ in found} == SAYING[file].keys() and not report.complete


@pytest.mark.parametrize("file", [name for name in SAYING if "held" not in name])
def test_nothing_is_said_where_images_are_of_these_splits(file, tmp_path):
    found, datasets, _ = said(written(tmp_path / "s", in_folders=True), tmp_path / "p", SAYING[file])
    assert not found and datasets.keys() == {"train", "val"}


def test_images_that_are_kept_apart_are_not_named(tmp_path):
    files = {"train.txt": lines(SPLITS["train"]), "holdout.txt": lines(SPLITS["val"])}
    found, datasets, _ = said(written(tmp_path / "s"), tmp_path / "p", files)
    assert not found and len(datasets) == 2


OTHERS = {
    "a program": {"split.py": "import os\nTRAIN = 0.8\nTEST = 0.2\n"},
    "numbers of epochs": {"train_loss.txt": "1\n2\n3\n", "val.txt": "1\n2\n"},
    "arrays of numbers": {"splits/train.npy": array([1.5, 2.5]), "folds.pkl": pickle.dumps([1, 2])},
    "evaluation": {"eval.txt": "mAP 0.5 of img_000.png\nAP50 0.7\n"},
    "all": {"holdout.csv": "image,score\nimg_000.png,0.5\n"},
}


@pytest.mark.parametrize("file", OTHERS)
def test_what_says_no_splits_is_not_named(file, tmp_path):
    assert not said(written(tmp_path / "s"), tmp_path / "p", OTHERS[file])[0]


CUB = {
    "images.txt": lines(f"{i + 1} {name}" for i, (name, _) in enumerate(FILES)),
    "train_test_split.txt": lines(f"{i + 1} {int(split == 'train')}" for i, (_, split) in enumerate(FILES)),
}


@pytest.mark.parametrize("folder", ["", "lists/"])
def test_splits_by_the_numbers_of_cub_are_read(folder, tmp_path):
    files = {folder + path: text for path, text in CUB.items()}
    found, datasets, report = said(written(tmp_path / "s"), tmp_path / "p", files)
    assert not found and report.complete
    assert datasets == {"train": [f"{n}.png" for n in NAMES[:4]], "test": [f"{n}.png" for n in NAMES[4:]]}
    assert [path for path, _ in messages(report, "label-note")] == [f"{folder}train_test_split.txt"]


def test_they_are_named_where_folders_say_others(tmp_path):
    found, datasets, _ = said(written(tmp_path / "s", in_folders=True), tmp_path / "p", CUB)
    assert datasets.keys() == {"train", "val"}
    ((path, text),) = found
    assert path == "train_test_split.txt" and "2 images aren't" in text


def test_images_of_cub_that_are_missing_are_named(tmp_path):
    root = written(tmp_path / "s")
    (root / "images/img_000.png").unlink()
    (root / "labels/img_000.txt").unlink()
    ((path, text),) = said(root, tmp_path / "p", CUB)[0]
    assert path == "train_test_split.txt" and "img_000.png" in text
