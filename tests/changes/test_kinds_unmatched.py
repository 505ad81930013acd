"""Whoever takes labels from somewhere names those that no image uses, and images that find none; in a dry run, too."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

import blobdir
from blobdir.cli.app import run as cli
from blobdir.packing import add
from blobdir.verifying import verify

LABEL = {"description": "", "tags": [], "size": {"height": 2, "width": 3}, "objects": []}
NAMES = ("a.png", "b.png", "c.png")


def picture(path, color=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (3, 2), (color, 5, 6)).save(path)


def label(path, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(LABEL | more))


@pytest.fixture
def run(capsys):
    """Run a command; gives its exit status and all that it says."""

    def command(*words):
        capsys.readouterr()
        status = cli([str(word) for word in words])
        return status, "".join(capsys.readouterr())

    return command


@pytest.fixture
def project(tmp_path):
    picture(tmp_path / "first/train/0.png")
    blobdir.pack(tmp_path / "first", tmp_path / "p")
    return tmp_path / "p"


@pytest.fixture
def new(tmp_path):
    for number, name in enumerate(NAMES):
        picture(tmp_path / "new/img" / name, number)
    label(tmp_path / "new/ann/a.png.json")
    return tmp_path / "new"


def images(new):
    return [new / "img" / name for name in NAMES]


ODD = {  # what lies in FOLDER -> the code, and a part of the line
    "case": ("b.PNG.json", "label-image", "b.png is, but for upper and lower case"),
    "legacy case": ("B.json", "label-image", "b.png is, but for upper and lower case"),
    "typo": ("bb.png.json", "label-image", "no image of these is called so"),
    "another's": ("z.json", "label-image", "no image of these is called so"),
    "both": ("a.json", "label-image", "a.png has a.png.json"),
    "other kinds": ("b.xml", "label-note", "1 file in it not called *.json"),
    "deeper": ("more/b.png.json", "label-note", "as in more"),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("dry", [False, True])
def test_add_names_both(run, project, new, odd, dry):
    path, code, text = ODD[odd]
    label(new / "ann" / path)
    label(new / "ann/.hidden.json")
    words = ["add", project, "train", *images(new), "--annotations", new / "ann", *["--dry-run"] * dry]
    as_json = run(*words[:1], project, "other", *words[3:], "--json") if dry else None
    status, output = run(*words)
    assert status == (7 if code == "label-image" else 0)
    assert any(line.startswith(f"blobdir: {code}: ") and text in line for line in output.splitlines())
    said = [line for line in output.splitlines() if "no-annotation" in line]
    assert [line.split(": ")[2] for line in said] == ["train/img/b.png", "train/img/c.png"]
    assert all("it has one without objects" in line for line in said) and "hidden" not in output
    if as_json:
        status_too, printed = as_json
        assert status_too == status and {p["code"] for p in json.loads(printed)["problems"]} == {code, "no-annotation"}


def test_what_all_fit_says_nothing(run, project, new):
    label(new / "ann/b.json")
    label(new / "ann/c.png.json")
    status, output = run("add", project, "train", *images(new), "--annotations", new / "ann")
    assert (status, output.count("blobdir:")) == (0, 0)
    assert run("add", project, "none", *images(new))[1].count("blobdir:") == 0  # no labels were given


@pytest.mark.parametrize("name", ["a.png.JSON", "a.txt", "more/a.png.json", "z.json"])
def test_a_folder_in_which_nothing_fits_costs(run, project, new, name):
    label(new / "other" / name)
    status, output = run("add", project, "train", *images(new), "--annotations", new / "other")
    assert status == 7 and "label-image" in output and output.count("no-annotation") == 3


@pytest.mark.parametrize("is_kept", [True, False])
@pytest.mark.parametrize("data", [b"", b"{", b"[]"])
def test_what_is_no_label_is_never_the_same(run, project, new, data, is_kept):
    words = ["add", project, "train", new / "img/a.png"]
    assert run(*words)[0] == 0
    if is_kept:
        (project / "train/ann/a.png.json").write_bytes(data)
    (new / "ann/a.png.json").write_bytes(data)
    status, output = run(*words, "--replace", "--annotations", new / "ann")
    assert status == 6 and "unchanged" not in output


@pytest.mark.parametrize("again", [False, True])
def test_what_is_odd_about_a_label_is_said_each_time(run, project, new, again):
    words = ["add", project, "train", new / "img/a.png", "--annotations", new / "ann"]
    box = {"exterior": [[0, 0], [1, 1]], "interior": []}
    label(new / "ann/a.png.json", objects=[{"classTitle": "nobody", "geometryType": "rectangle", "points": box}])
    outputs = [run(*words, *["--replace"] * number) for number in range(1 + again)]
    assert all("nobody" in output for _, output in outputs)


def test_labels_of_a_whole_set_with_some_of_its_images_are_a_note(run, project, new):
    for name in ("b.png.json", "c.png.json", "d.png.json", "e.png.json"):
        label(new / "ann" / name)
    status, output = run("add", project, "train", *images(new), "--annotations", new / "ann")
    assert status == 0
    assert "label-note" in output and "2 labels in it belong to none of these images, as d.png.json" in output


@pytest.mark.parametrize("dry", [False, True])
def test_a_datasets_folder_is_told_from_its_labels(run, project, new, dry):
    status, output = run("add", project, "train", *images(new), "--annotations", new, *["--dry-run"] * dry)
    assert status == 2 and f"give {new}/ann" in output
    assert blobdir.open_project(project)["train"].names == ["0.png"]


def test_many_are_counted(run, project, new):
    for number in range(25):
        label(new / f"ann/{number}x.json")
    status, output = run("add", project, "train", *images(new), "--annotations", new / "ann")
    assert status == 7 and output.count("wasn't used") == 20
    assert "label-image: and 5 more" in output


def sources(tmp_path, new):
    """A project whose dataset has a label that no image uses, and images without one."""
    shutil.copytree(new, tmp_path / "whole/train")
    label(tmp_path / "whole/train/ann/b.PNG.json")
    (tmp_path / "whole/meta.json").write_text('{"classes": [], "tags": []}')
    return tmp_path / "whole"


@pytest.mark.parametrize("how", ["loose", "packed"])
@pytest.mark.parametrize("dry", [False, True])
def test_pack_names_both(run, tmp_path, new, how, dry):
    words = ["pack", sources(tmp_path, new), tmp_path / "out", "--annotations", how, *["--dry-run"] * dry]
    status, output = run(*words)
    assert status == 0  # nothing is left out
    assert "label-note: train/ann/b.PNG.json: is kept as it is: no image of these is called so; b.png is" in output
    assert "no-annotation: train/img/b.png" in output and "no-annotation: train/img/c.png" in output
    if not dry:
        assert blobdir.open_project(tmp_path / "out").filesystem.exists("train/ann/b.PNG.json")


@pytest.mark.parametrize("to", ["coco", "yolo", "voc"])
def test_convert_names_both(run, tmp_path, new, to):
    blobdir.pack(sources(tmp_path, new), tmp_path / "out")
    status, output = run("convert", tmp_path / "out", tmp_path / "made", "--to", to)
    assert status == 7 and "label-image: train/ann/b.PNG.json: isn't in the result" in output
    assert "no-annotation: train/b.png" in output and "no-annotation: train/c.png" in output


def test_subset_names_both(run, tmp_path, new):
    blobdir.pack(sources(tmp_path, new), tmp_path / "out")
    output = run("subset", tmp_path / "out", tmp_path / "made", "--per-class", 1, "--glob", "*")[1]
    output += run("subset", tmp_path / "out", tmp_path / "made2", "--glob", "*")[1]
    assert "what belongs to no image isn't in it: train/ann/b.PNG.json" in output


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("dry", [False, True])
def test_lists_name_both(run, tmp_path, new, kind, dry):
    rows = [("img/a.png", "ann/a.png.json"), ("img/b.png", "ann/gone.json"), ("img/c.png", "")]
    lines = [f"{path},{note}" for path, note in rows]
    if kind == "jsonl":
        lines = [json.dumps({"path": path, "annotation": note or None}) for path, note in rows]
    text = "\n".join(["path,annotation"] * (kind == "csv") + lines)
    (new / f"list.{kind}").write_text(text + "\n")
    status, output = run("pack", new / f"list.{kind}", tmp_path / "out", *["--dry-run"] * dry)
    assert status == 7 and "annotation: img/b.png: ann/gone.json: can't be read" in output
    assert "no-annotation" in output and "names no annotation for 1 image of 3, as img/c.png" in output


# -- names of datasets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", ["img", "ann", "meta", "masks_x"])
@pytest.mark.parametrize("dry", [False, True])
@pytest.mark.parametrize("command", ["add", "move"])
def test_a_folder_of_a_dataset_is_named(run, project, new, last, dry, command):
    words = ["add", project, f"train/{last}", *images(new)]
    words = words if command == "add" else ["move", project, "train/0.png", f"train/{last}"]
    status, output = run(*words, *["--dry-run"] * dry)
    assert status == 0 and f"sdk-name: train/{last}: " in output
    assert f"if train was meant, whose {last}/ this would be, name the dataset train" in output
    if not dry and command == "add":  # it's there now
        assert "sdk-name" not in run(*words, "--replace")[1]


@pytest.mark.parametrize("name", ["masks_x", "masks_", "masks_human", "train/masks_x"])
def test_a_dataset_called_like_masks_is_no_fault(project, new, name):
    add(project, name, images(new))
    (project / "train/masks_note.txt").write_text("by hand")
    assert [f.code for f in verify(project).findings if f.code.startswith("not-a")] == []


@pytest.mark.parametrize("name", ["img_info", "meta", "masks_x"])
def test_a_file_in_the_place_of_a_folder_is_still_said(project, name):
    (project / "train" / name).write_text("no folder")
    assert "not-a-folder" in [f.code for f in verify(project).findings]


# -- what is the same already ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dry", [False, True])
@pytest.mark.parametrize("changed", ["nothing", "bytes", "label", "label unsaid"])
def test_what_is_the_same_stays(run, project, new, changed, dry):
    label(new / "ann/b.png.json")
    label(new / "ann/c.png.json")
    words = ["add", project, "train", *images(new), "--annotations", new / "ann"]
    assert run(*words)[0] == 0
    assert run("index", project, "--beside")[0] == 0
    files = {path: path.lstat().st_mtime_ns for path in project.rglob("*") if path.is_file() and path.name != "lock"}
    before = sorted(path.name for path in (project / "blob").iterdir())
    if changed == "bytes":
        picture(new / "img/b.png", 200)
    elif changed == "label":
        label(new / "ann/b.png.json", description="new")
    elif changed == "label unsaid":
        words = words[:-2]
    status, output = run(*words, "--replace", *["--dry-run"] * dry)
    left = 2 if changed in ("bytes", "label") else 3
    assert status == 0 and f"{left} images there already, unchanged" in output
    assert output.count("would be replaced: train/img/b.png") == (dry and left == 2)
    after = sorted(path.name for path in (project / "blob").iterdir())
    assert (after == before) == (dry or left == 3)
    opened = blobdir.open_project(project)
    if left == 3:  # the index that lies beside it is still there, too
        assert {
            path: path.lstat().st_mtime_ns for path in project.rglob("*") if path in files and path.name != "lock"
        } == files
    if not dry:
        assert opened["train"].get_blob_img_bytes("b.png") == (new / "img/b.png").read_bytes()
        assert (project / "train/ann/b.png.json").read_bytes() == (new / "ann/b.png.json").read_bytes()
    assert verify(project).findings == [] or {f.severity for f in verify(project).findings} == {"warning"}


@pytest.mark.parametrize("name", ["masks_x", "masks_", "seg", "meta", "img_info"])
def test_a_dataset_called_like_a_side_folder_is_changed_as_others_are(run, project, new, name):
    assert run("add", project, name, *images(new))[0] == 0
    assert run("move", project, "train/0.png", name)[0] == 0
    assert run("move", project, f"{name}/a.png", "train")[0] == 0
    assert run("add", project, name, new / "img/b.png", "--replace")[0] == 0
    assert run("remove", project, f"{name}/c.png")[0] == 0
    assert run("compact", project)[0] == 0
    opened = blobdir.open_project(project)
    assert (opened["train"].names, opened[name].names) == (["a.png"], ["0.png", "b.png"])
    assert (opened[name].get_blob_img_bytes("b.png")) == (new / "img/b.png").read_bytes()
