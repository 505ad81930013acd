"""The names of Open Images' classes: beside the tables, or it's said that there are none."""

from __future__ import annotations

import pytest
from label_cases import draw
from set_cases import classes
from split_cases import messages, pack, put

from blobdir.labels.model import LabelError

HEAD = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded\n"
TEXT = "/m/011k07,Tortoise\n/m/011q46kg,Container\n/m/0x,Never\n"
NAMES = ["class-descriptions-boxable.csv", "oidv7-class-descriptions-boxable.csv", "class-descriptions.csv"]


def tables(root, folder="", ids=("/m/011k07", "/m/011q46kg")):
    for split, one in zip(("train", "validation"), ids, strict=True):
        draw(root / folder / split / f"{split}1.jpg")
        row = f"{split}1,xclick,{one},1,0.1,0.5,0.2,0.6,0\n"
        put(root / folder / f"{split}-annotations-bbox.csv", HEAD + row)
    return root


@pytest.mark.parametrize("head", ["", "LabelName,DisplayName\n", "\ufeff"])
@pytest.mark.parametrize("place", ["", "../", "metadata/"])
@pytest.mark.parametrize("name", [*NAMES, "classes.csv", "class_names.csv"])
def test_classes_have_their_names(name, place, head, tmp_path):
    source = tables(tmp_path / "s", "oid")
    put(source / "oid" / place / name, head + TEXT)
    report, _ = pack(source, tmp_path / "p")
    assert report.complete and not report.problems
    assert classes(tmp_path / "p") == {"train1.jpg": ["Tortoise"], "validation1.jpg": ["Container"]}


def test_other_files_called_classes_say_nothing(tmp_path):
    source = tables(tmp_path / "s")
    put(source / "classes.csv", "id,name\n1,Tortoise\n1,Turtle\n")
    report, _ = pack(source, tmp_path / "p")
    assert report.complete and "no file has names" in messages(report, "label-note")[0][1]


def test_it_is_said_that_there_are_no_names(tmp_path):
    report, _ = pack(tables(tmp_path / "s"), tmp_path / "p")
    assert report.complete and len(report.problems) == 1
    ((path, text),) = messages(report, "label-note")
    assert path.endswith("bbox.csv") and "ids of 2 classes, as /m/011k07" in text and NAMES[0] in text


def test_a_class_without_a_name_is_said(tmp_path):
    source = tables(tmp_path / "s")
    put(source / NAMES[0], TEXT.replace("/m/011q46kg", "/m/0y"))
    report, _ = pack(source, tmp_path / "p")
    ((path, text),) = messages(report, "label-note")
    assert path.startswith("validation") and "ids of 1 class, as /m/011q46kg" in text
    assert classes(tmp_path / "p")["train1.jpg"] == ["Tortoise"]


def test_two_classes_of_one_name_stay_apart(tmp_path):
    source = tables(tmp_path / "s")
    (source / "validation-annotations-bbox.csv").unlink()
    put(source / "train-annotations-bbox.csv", HEAD + "".join(f"train1,x,/m/{i},1,0,1,0,0.{i},0\n" for i in (1, 2, 3)))
    put(source / NAMES[0], "/m/1,Cat\n/m/2,Dog\n/m/3,Cat\n")
    report, _ = pack(source, tmp_path / "p")
    assert classes(tmp_path / "p")["train1.jpg"] == ["/m/1", "Dog", "/m/3"]
    assert any("'Cat' alike" in text for _, text in messages(report, "label-note"))


@pytest.mark.parametrize("name", [NAMES[1], NAMES[0]])
def test_files_that_say_different_names(name, tmp_path):
    """In one folder; or in one file."""
    source = tables(tmp_path / "s")
    put(source / NAMES[0], TEXT)
    with (source / name).open("a") as file:
        file.write("/m/011k07,Turtle\n")
    with pytest.raises(LabelError, match=r"(?s)class-descriptions.*calls /m/011k07 .*(Turtle|Tortoise)"):
        pack(source, tmp_path / "p")


def test_each_counts_for_its_folder(tmp_path):
    source = tables(tmp_path / "s", "a", ("/m/1", "/m/2"))
    tables(source, "b", ("/m/1", "/m/2"))
    for path in (source / "b").rglob("*1.jpg"):
        path.rename(path.with_name(f"b{path.name}"))
    for path in (source / "b").glob("*.csv"):
        path.write_text(path.read_text().replace("train1", "btrain1").replace("validation1", "bvalidation1"))
    put(source / "a" / NAMES[0], "/m/1,Cat\n/m/2,Dog\n")
    put(source / "b" / NAMES[0], "/m/1,Cow\n/m/2,Dog\n")
    report, _ = pack(source, tmp_path / "p")
    found = classes(tmp_path / "p")
    assert report.complete and (found["train1.jpg"], found["btrain1.jpg"]) == (["Cat"], ["Cow"])
    assert any("each counts for the tables" in text for _, text in messages(report, "label-note"))


def test_far_ones_that_differ_are_refused(tmp_path):
    source = tables(tmp_path / "s", "a")
    put(source / "b" / NAMES[0], TEXT)
    put(source / "c" / NAMES[0], TEXT.replace("Tortoise", "Turtle"))
    with pytest.raises(LabelError, match="call /m/011k07 differently"):
        pack(source, tmp_path / "p")
