"""Several steps in one change are worth what they are worth as changes of their own, or are refused."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from posixpath import splitext

import pytest
from changes.commands import transaction
from changes.looking import annotation_of, faults, is_image, shown
from changes.samples import annotation, files_of, packed, picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blobdir.errors import BlobdirError

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

STEPS = int(os.environ.get("BLOBDIR_TEST_CHANGES", "0"))
DATASETS = ("train", "val", "top/datasets/new")
IMAGES = ("b.png", "b.bmp", "b.jpg", "c.png", "b.png.jpg")
LABELS = ("b.json", "c.json", "b.png.json", "b.bmp.json", "b.png.jpg.json")
SIDE_FILES = ("meta/b.json", "meta/b.png.json", "meta/b.png.jpg.json", "masks_x/b.png", "masks_x/b.png.png")
FILES = files_of({"train/b.png": picture("b"), "train/c.png": picture("c"), "val/b.bmp": picture("val b")})
FILES["train/ann/b.json"] = FILES.pop("train/ann/b.png.json")
FILES |= {"val/ann/c.json": annotation("nobody's"), "train/masks_x/b.png": picture("mask by the stem")}
FILES |= {"train/masks_x/c.png.png": picture("mask by the name"), "train/meta/b.json": b'{"meta": 1}'}

image_paths = st.builds("{}/img/{}".format, st.sampled_from(DATASETS), st.sampled_from(IMAGES))
label_paths = st.builds("{}/ann/{}".format, st.sampled_from(DATASETS), st.sampled_from(LABELS))
own_labels = st.builds("{}/ann/{}.json".format, st.sampled_from(DATASETS), st.sampled_from(IMAGES))
side_files = st.builds("{}/{}".format, st.sampled_from(DATASETS), st.sampled_from(SIDE_FILES))
patterns = st.builds("{}/img/{}".format, st.sampled_from(DATASETS), st.sampled_from(("*", "b.*", "*.png")))
folders = st.tuples(st.sampled_from(DATASETS), st.sampled_from(DATASETS)).filter(lambda two: two[0] != two[1])
captions = st.builds("{}/img/{}".format, st.sampled_from(DATASETS), st.sampled_from(("b.txt", "c.txt", "b.png.txt")))
side_moves = st.tuples(side_files, side_files).filter(lambda two: ("/meta/" in two[0]) == ("/meta/" in two[1]))
moves = st.one_of(st.tuples(image_paths, image_paths), st.tuples(label_paths, label_paths), side_moves)
steps = st.one_of(
    st.tuples(st.just("pipe"), image_paths),
    st.tuples(st.just("mv"), image_paths, image_paths),
    st.tuples(st.just("mv"), label_paths, label_paths),
    st.tuples(st.just("mv -r"), folders),
    st.tuples(st.just("mv -r"), st.tuples(st.just("train/img"), st.sampled_from(("val/img", "other/img")))),
    st.tuples(st.just("cp -r"), folders),
    st.tuples(st.sampled_from(("mv -r", "cp -r")), folders.map(lambda two: (f"{two[0]}/", f"{two[1]}/"))),
    st.tuples(st.sampled_from(("mv -r", "cp -r")), st.tuples(patterns, st.sampled_from(("val/img/", "other/img/")))),
    st.tuples(st.just("cp"), image_paths, image_paths),
    side_moves.map(lambda two: ("mv", *two)),
    st.tuples(st.just("pipe"), side_files),
    st.tuples(st.just("pipe"), captions),
    st.tuples(st.just("mv []"), st.lists(moves, min_size=2, max_size=4)),
    st.tuples(st.just("cp []"), st.lists(st.tuples(image_paths, image_paths), min_size=2, max_size=4)),
    st.tuples(st.just("rm"), st.one_of(image_paths, label_paths, side_files, captions)),
    st.tuples(st.just("label"), own_labels),
)


def take(fs, number, step):
    """Take one step; what it writes is told apart by its number."""
    kind, *args = step
    if kind == "pipe":
        data = {"piped": number}
        fs.pipe(args[0], json.dumps(data).encode() if "/meta/" in args[0] else picture(f"piped {number}"))
    elif kind == "label":
        fs.pipe(args[0], annotation(f"written {number}"))
    elif kind in ("mv", "cp"):
        getattr(fs, kind)(*args)
    elif kind in ("mv []", "cp []"):
        getattr(fs, kind[:2])(*map(list, zip(*args[0], strict=True)))
    elif kind == "rm":
        fs.rm(args[0])
    else:
        (fs.mv if kind == "mv -r" else fs.cp)(*args[0], recursive=True)


def worth(root):
    """Image -> its bytes, what its label says, and its masks and meta, by whatever names they have."""
    files, found = shown(root), {}
    for path in filter(is_image, files):
        dataset, _, name = path.rpartition("/img/")
        label = annotation_of(files, path)
        beside = [f"{dataset}/{kind}/{base}{end}" for kind, end in (("masks_x", ".png"), ("meta", ".json"))
                  for base in (name, splitext(name)[0])]  # fmt: skip
        said = json.loads(files[label])["description"] if label else None
        found[path] = files[path], said, sorted({files[one] for one in beside if one in files})
    return found


@settings(max_examples=max(40, STEPS // 6), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(steps, min_size=2, max_size=9))
def test_one_change_or_several(steps):
    with tempfile.TemporaryDirectory() as folder:
        root = packed(Path(folder) / "p", FILES, annotations="packed" if len(steps) % 2 else "loose")
        single = shutil.copytree(root, Path(folder) / "single")
        done = []
        for number, step in enumerate(steps):
            try:
                transaction(single, lambda fs, number=number, step=step: take(fs, number, step))
            except (BlobdirError, OSError):
                continue  # a step can be impossible, as a label that goes before its image
            done.append((number, step))
        before = worth(root)
        try:
            transaction(root, lambda fs: [take(fs, *one) for one in done])
        except (BlobdirError, OSError):
            assert worth(root) == before
            return
        assert worth(root) == worth(single)
        assert faults(root) == []
