"""Whatever takes names of images means the same ones by them, and never another one than has exactly this path."""

from __future__ import annotations

import pytest
from changes.looking import shown
from changes.samples import annotation, files_of, packed, picture, write

import blobdir
from blobdir.cli.app import run
from blobdir.drawing import draw_preview
from blobdir.errors import NotFoundError, UsageError
from blobdir.packing import SubsetOptions, move, remove, subset

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

IMAGES = {
    "train/a.png": picture("a"),
    "train/datasets/img/a.png": picture("a of img"),
    "train/datasets/img/z.png": picture("z of img"),
    "train/datasets/b/c.png": picture("c of b"),
}


@pytest.fixture
def root(tmp_path):
    root = packed(tmp_path / "p", files_of(IMAGES))
    write(root / "train/img/b/c.png", picture("in a folder"))
    write(root / "train/ann/b/c.png.json", annotation("in a folder"))
    return root


def _images(root):
    return {path for path in shown(root) if path.endswith(".png")}


def _by_removing(root, typed):
    before = _images(root)
    remove(root, [typed])
    return before - _images(root)


def _by_dry_run(root, typed):
    return {path for path in remove(root, [typed], dry_run=True).removed if path.endswith(".png")}


def _by_moving(root, typed):
    before = _images(root)
    move(root, [typed], "elsewhere")
    return before - _images(root)


def _by_subset(root, typed):
    subset(root, root.with_name("some"), SubsetOptions(names=[typed], blobs="copy"))
    return _images(root.with_name("some"))


def _by_command(root, typed):
    before = _images(root)
    status = run(["remove", "-q", str(root), typed])
    if status:
        raise {2: UsageError, 4: NotFoundError}[status]("can be … and …, said the command")
    return before - _images(root)


WAYS = {
    "remove": _by_removing,
    "remove --dry-run": _by_dry_run,
    "move": _by_moving,
    "subset": _by_subset,
    "command": _by_command,
}
MEANS = {
    "train/img/a.png": "train/img/a.png",
    "train/a.png": "train/img/a.png",
    "train/datasets/img/img/a.png": "train/datasets/img/img/a.png",
    "train/datasets/img/a.png": "train/datasets/img/img/a.png",
    "train/img/b/c.png": "train/img/b/c.png",
    "train/datasets/b/img/c.png": "train/datasets/b/img/c.png",
    "train/b/img/c.png": "train/datasets/b/img/c.png",
}  # fmt: skip


@pytest.mark.parametrize("typed", MEANS)
@pytest.mark.parametrize("way", WAYS)
def test_the_exact_path_is_meant_first(root, way, typed):
    assert WAYS[way](root, typed) == {MEANS[typed]}


@pytest.mark.parametrize("way", WAYS)
def test_what_can_be_two_is_refused(root, way):
    before = shown(root)
    with pytest.raises(UsageError, match="can be .* and "):
        WAYS[way](root, "train/b/c.png")
    assert shown(root) == before


GONE = {
    "of the dataset above": ("train/img/a.png", "train/img/a.png"),
    "never there": ("train/img/z.png", ""),
    "in a folder of the one above": ("train/img/img/a.png", ""),
    "of a name that another has": ("train/img/b/c.png", "train/img/b/c.png"),
    "in a folder called img": ("train/img/q.png", "train/img/q.png"),
    "of one below": ("train/datasets/b/img/c.png", "train/datasets/b/img/c.png"),
}


@pytest.mark.parametrize("case", GONE)
@pytest.mark.parametrize("way", WAYS)
def test_again_never_means_another_image(root, way, case):
    """What a list names that is given once more, or was never there, isn't an image of another dataset or name."""
    typed, gone = GONE[case]
    for path in ("train/img/q.png", "train/img/img/q.png", "train/img/datasets/b/img/c.png"):
        write(root / path, picture(path))
        write(root / f"{path}.json".replace("/img/", "/ann/", 1), annotation(path))
    if gone:
        remove(root, [gone])
    before = shown(root)
    with pytest.raises(NotFoundError):
        WAYS[way](root, typed)
    assert shown(root) == before
    assert not root.with_name("some").exists()


def test_the_other_one_is_named(root):
    remove(root, ["train/img/a.png"])
    with pytest.raises(NotFoundError, match="if train/datasets/img/img/a.png is meant, write so"):
        _by_subset(root, "train/img/a.png")


def test_a_path_is_no_name_in_a_folder_of_another_dataset(root):
    write(root / "train/datasets/b/img/train/img/k.png", picture("k"))
    with pytest.raises(NotFoundError):
        _by_subset(root, "train/img/k.png")


def test_the_path_of_one_is_meant_where_the_other_is_gone(root):
    remove(root, ["train/img/a.png"])
    assert _by_removing(root, "train/datasets/img/img/a.png") == {"train/datasets/img/img/a.png"}


def test_both_are_named(root, capsys):
    run(["remove", str(root), "train/b/c.png"])
    said = capsys.readouterr().err
    assert "train/datasets/b/img/c.png and train/img/b/c.png" in said


PATTERNS = {
    "subset": lambda root, text: subset(root, root.with_name("x"), SubsetOptions(patterns=(text,), blobs="copy")),
    "preview": lambda root, text: draw_preview(blobdir.open_project(root), pattern=text),
}


@pytest.mark.parametrize("text", ["train/img/a.png", "train/img/*", "*/img/a*"])
@pytest.mark.parametrize("way", PATTERNS)
def test_a_pattern_that_is_a_path_too(root, way, text):
    with pytest.raises(UsageError, match=r"can be train/img/\S+, by the path, and train/datasets/img/img/\S+, by"):
        PATTERNS[way](root, text)
    assert not root.with_name("x").exists()


@pytest.mark.parametrize("text", ["train/*", "*", "*.png", "train/a.png", "train/img/z*", "*/c.png"])
@pytest.mark.parametrize("way", PATTERNS)
def test_patterns_that_can_be_one_thing_only(root, way, text):
    PATTERNS[way](root, text)


def test_a_pattern_among_chosen_datasets(root):
    options = SubsetOptions(patterns=("train/img/a.png",), datasets=("train/img",), blobs="copy")
    subset(root, root.with_name("x"), options)
    assert _images(root.with_name("x")) == {"train/datasets/img/img/a.png"}
