"""Labels and other files of images that are symbolic links which lead to nothing here: never as if there were none."""

from __future__ import annotations

import json
import shutil

import pytest

import blobdir.demo
from blobdir.cli.app import run
from blobdir.errors import LinkError
from blobdir.project import open_project

AWAY = {
    "nowhere": "../../.git/annex/objects/x",
    "below a file": "../../meta.json/x",
    "outside": "/etc/hostname",
    "in circles": "0_0000.png.json",
}
LABELS = {
    "class": ["subset", "P", "O", "--class", "digit"],
    "tag": ["subset", "P", "O", "--tag", "value"],
    "dataset": ["subset", "P", "O", "--dataset", "train"],
    "strict": ["subset", "P", "O", "--class", "digit", "--strict"],
    "per class": ["subset", "P", "O", "--per-class", "60"],
    "stats": ["stats", "P"],
    "preview": ["preview", "P", "-o", "O.html", "--count", "60"],
    "convert": ["convert", "P", "O", "--to", "coco"],
    "move": ["move", "P", "train/0_0000.png", "test"],
}
SIDES = ["meta/0_0000.png.json", "meta/0_0000.json", "seg/0_0000.png.png", "masks_machine/0_0000.png"]
SIDES += ["masks_machine/0_0000", "masks_machine/0_0000/a.png", "masks_mine/0_0000.png.png", "img_info/0_0000.png.json"]


@pytest.fixture
def project(tmp_path):
    return shutil.copytree(blobdir.demo.path(), tmp_path / "P")


@pytest.fixture
def called(project, tmp_path, capfd):
    """Call a command: its exit status and what it says on both."""

    def call(arguments):
        if "Q" in arguments:
            (tmp_path / "Q/blob").mkdir(parents=True)
            shutil.copy(project / "meta.json", tmp_path / "Q/meta.json")
        places = {name: str(tmp_path / name) for name in ("P", "Q", "O", "O.html")}
        status = run([places.get(one, one) for one in arguments])
        return status, "".join(capfd.readouterr())

    return call


def put_link(project, path, target):
    place = project / "train" / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(target)


@pytest.mark.parametrize("away", AWAY)
@pytest.mark.parametrize("command", LABELS)
def test_a_label_that_is_away_is_named(project, called, command, away):
    put_link(project, "ann/0_0000.png.json", AWAY[away])
    status, said = called(LABELS[command])
    assert status in (4, 6, 7)
    assert "train/ann/0_0000.png.json" in said
    assert "without an annotation" not in said
    assert "no-annotation" not in said


@pytest.mark.parametrize("away", AWAY)
def test_what_is_merged_without_it_says_so(project, called, away):
    put_link(project, "ann/0_0000.png.json", AWAY[away])
    assert "train/ann/0_0000.png.json" in called(["merge", "Q", "P"])[1]


@pytest.mark.parametrize("place", ["ann/0_0000.json", "ann/sub"])
def test_so_is_one_by_the_stem_or_behind_a_folder(project, called, place):
    (project / "train/img").mkdir(exist_ok=True)
    if place == "ann/sub":
        (project / "train/img/sub").mkdir()
        shutil.copy(next(blobdir.demo.path().rglob("README.md")), project / "train/img/sub/a.png")
    else:
        (project / "train/ann/0_0000.png.json").unlink()
    put_link(project, place, "../../.git/annex/objects/x")
    status, said = called(LABELS["class"])
    assert status == 7
    assert f"train/{place}" in said
    assert "without an annotation" not in said


@pytest.mark.parametrize("side", SIDES)
def test_a_subset_is_never_made_without_such_a_file(project, called, tmp_path, side):
    put_link(project, side, "../../../.git/annex/objects/x")
    status, said = called(LABELS["dataset"])
    assert status == 4
    assert f"train/{side}" in said
    assert not (tmp_path / "O").exists()
    assert called(["subset", "P", "O", "--dataset", "test"])[0] == 0


def test_what_one_image_has_isnt_asked_of_others(project, called, tmp_path):
    put_link(project, "meta/0_0000.png.json", "nowhere")
    others = [f"train/{name}" for name in open_project(project)["train"].names if name != "0_0000.png"]
    (tmp_path / "names").write_text("\n".join(others))
    status, said = called(["subset", "P", "O", "--list", str(tmp_path / "names")])
    assert status == 0, said


def test_the_api_says_it_too(project):
    put_link(project, "ann/0_0000.png.json", AWAY["nowhere"])
    dataset = open_project(project)["train"]
    with pytest.raises(LinkError, match=r"train/ann/0_0000\.png\.json: is a symbolic link to .*annex"):
        dataset.annotation("0_0000.png")
    with pytest.raises(LinkError):
        dataset.annotation_path("0_0000.png")
    ((_, value),) = dataset.read_annotations(["0_0000.png"])
    assert value is None
    (one,) = dataset.annotations(["0_0000.png"])
    assert (one.path, "is a symbolic link" in one.fault) == ("train/ann/0_0000.png.json", True)


def test_one_that_leads_to_a_label_is_that_label(project, called, tmp_path):
    path = project / "train/ann/0_0000.png.json"
    moved = path.rename(project / "train/kept.json")
    path.symlink_to("../kept.json")
    status, said = called(LABELS["dataset"])
    assert status == 0, said
    copied = tmp_path / "O/train/ann/0_0000.png.json"
    assert json.loads(copied.read_bytes()) == json.loads(moved.read_bytes())


def test_an_image_is_removed_with_its_link(project, called):
    put_link(project, "ann/0_0000.png.json", AWAY["nowhere"])
    assert called(["remove", "P", "train/0_0000.png"])[0] == 0
    assert not (project / "train/ann/0_0000.png.json").is_symlink()
