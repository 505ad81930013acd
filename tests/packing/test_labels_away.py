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
OF_IMAGES = [*SIDES, "img/0_0000.jpg", "label_source.json"]
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


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize("away", [*AWAY, "to a folder"])
@pytest.mark.parametrize("path", ["ann/0_0000.png.json", *OF_IMAGES])
def test_nothing_is_merged_without_it(project, called, tmp_path, path, away, dry):
    put_link(project, path, (AWAY | {"to a folder": "../../test"})[away])
    status, said = called(["merge", "Q", "P", *dry])
    assert status == 7, said
    assert f"train/{path}" in said
    assert not (tmp_path / "Q/train").exists()


@pytest.mark.parametrize("path", ["ann/stray.png.json", "masks_machine/nobody/a.png", "notes.txt", "img/notes.txt"])
def test_one_that_is_no_images_is_only_named(project, called, path):
    put_link(project, path, "../nowhere")
    status, said = called(["merge", "Q", "P"])
    assert status == 0, said
    assert f"train/{path}" in said


def test_nor_without_labels_behind_a_folder(project, called):
    (project / "train/img/sub").mkdir(parents=True)
    shutil.copy(next(blobdir.demo.path().rglob("README.md")), project / "train/img/sub/a.png")
    put_link(project, "ann/sub", "../nowhere")
    assert called(["merge", "Q", "P"])[0] == 7


@pytest.mark.parametrize("kind", ["folder", "link to one", "with something in it"])
@pytest.mark.parametrize("path", ["ann/0_0000.png.json", "meta/0_0000.png.json", "seg/0_0000.png.png"])
def test_a_folder_in_its_place_is_named(project, called, tmp_path, kind, path):
    put_link(project, path, "../../test")
    if kind != "link to one":
        (project / "train" / path).unlink()
        (project / "train" / path).mkdir()
        (project / "train" / path / "x.json").write_bytes(b"{}" * (kind != "folder"))
    status, said = called(LABELS["dataset"])
    assert status == 4, said
    assert f"train/{path}: is a folder, where a file of 0_0000.png would be" in said
    assert not (tmp_path / "O").exists()


def test_a_folder_of_others_isnt_in_its_place(project, called, tmp_path):
    label = project / "train/ann/0_0000.png.json"
    data = label.read_bytes()
    label.rename(project / "train/ann/0_0000.json")
    for folder, name in ((label, "a.png.json"), (project / "train/img/0_0000.png.json", "a.png")):
        folder.mkdir(parents=True)
        (folder / name).write_bytes(data)
    status, said = called(LABELS["dataset"])
    assert status == 0, said
    assert (tmp_path / "O/train/ann/0_0000.json").is_file()
    assert (tmp_path / "O/train/ann/0_0000.png.json/a.png.json").is_file()


@pytest.mark.parametrize("away", {**AWAY, "to a folder": "../../test"})
@pytest.mark.parametrize("command", ["move", "move dry", "compact"])
def test_where_it_leads_is_said(project, called, command, away):
    put_link(project, "ann/0_0000.png.json", (AWAY | {"to a folder": "../../test"})[away])
    arguments = ["compact", "P", "--layout", "webdataset"] if command == "compact" else LABELS["move"]
    status, said = called([*arguments, *(["--dry-run"] if command == "move dry" else [])])
    assert status == 7, said
    assert "symbolic link" in said
    assert "Errno" not in said


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


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("img/.x.png", "nowhere"),
        ("img/._1.png", "nowhere"),
        ("img/.#a.png", "user@host.1:2"),
        ("img/loop", ".."),
        ("img/more", "../../test/img"),
        ("img/loop", "."),
    ],
)
def test_what_no_image_lacks_keeps_nothing_from_being_merged(project, called, path, target):
    """Locks of editors, and links back up, which nobody follows."""
    put_link(project, path, target)
    status, said = called(["merge", "Q", "P"])
    assert status == 0 and f"train/{path}" in said
