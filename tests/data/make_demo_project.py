#!/usr/bin/env python3
"""Build the demo project of the package (src/blobdir/demo/project) with the real Supervisely SDK.

Needs: pip install supervisely==6.74.51 scikit-learn
Usage: make_demo_project.py OUT_DIR

The same every time: fixed order, fixed times, no random numbers. Pixels are the UCI handwritten digits of
scikit-learn; every offsets file is written by the SDK's own function.
"""

import argparse
import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import supervisely as sly
from PIL import Image
from sklearn.datasets import load_digits

README = """\
# Handwritten digits

The demo project of blobdir. Two blobs; `digits-b` serves both `train` and `train/hard`; some images of `test` are
plain files and in no blob. Made by `tests/data/make_demo_project.py`.

Pictures: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
<https://doi.org/10.24432/C50P49>, CC BY 4.0, enlarged from 8 × 8 pixels.
"""
# dataset folder -> [(blob or None for plain files, first digit, past the last)]
PLAN = {
    "train": [("digits-a", 0, 20), ("digits-b", 20, 30)],
    "train/datasets/hard": [("digits-b", 30, 40)],
    "test": [("digits-a", 40, 54), (None, 54, 60)],
}
BOX = sly.ObjClass("digit", sly.Rectangle, color=[230, 60, 60])
INK = sly.ObjClass("ink", sly.Bitmap, color=[40, 120, 220])
VALUE = sly.TagMeta("value", sly.TagValueType.ANY_NUMBER, color=[60, 160, 90])
DIGITS = load_digits()


def encode(i: int) -> tuple[str, bytes, dict]:
    """Digit `i` as an image file: name, bytes, annotation."""
    side = 32 + 8 * (i % 5)
    image = Image.fromarray((DIGITS.images[i] * 15.9).astype("uint8")).resize((side, side), Image.Resampling.BICUBIC)
    ink = np.asarray(image) > 80
    data = io.BytesIO()
    if i % 3 == 0:
        image.save(data, "PNG")
    else:
        image.convert("RGB").save(data, "JPEG", quality=88)
    rows, columns = (np.flatnonzero(ink.any(axis=1 - axis)) for axis in (0, 1))
    box = sly.Rectangle(int(rows[0]), int(columns[0]), int(rows[-1]), int(columns[-1]))
    value = int(DIGITS.target[i])
    annotation = sly.Annotation(
        ink.shape,
        [sly.Label(box, BOX), sly.Label(sly.Bitmap(ink), INK)],
        img_tags=sly.TagCollection([sly.Tag(VALUE, value)]),
    )
    name = f"{value}_{i:04d}.{'png' if i % 3 == 0 else 'jpg'}"
    return (f"digit {name}" if i % 11 == 7 else name), data.getvalue(), without_random_parts(annotation.to_json())


def without_random_parts(annotation: dict) -> dict:
    """An annotation without the SDK's random keys and times, for the same files every time."""
    for item in (*annotation["objects"], *annotation["tags"]):
        for key in ("key", "createdAt", "updatedAt", "labelerLogin"):
            item.pop(key, None)
    return annotation


def main() -> None:
    """Write the project and open it with the SDK."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    root = parser.parse_args().out
    shutil.rmtree(root, ignore_errors=True)
    (root / "blob").mkdir(parents=True)
    meta = sly.ProjectMeta(obj_classes=[BOX, INK], tag_metas=[VALUE]).to_json()
    (root / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")
    (root / "README.md").write_text(README)
    members: dict[str, list[tuple[str, bytes]]] = {}
    for dataset, parts in PLAN.items():
        (root / dataset / "ann").mkdir(parents=True)
        for blob, first, last in parts:
            for name, data, annotation in map(encode, range(first, last)):
                (root / dataset / "ann" / f"{name}.json").write_text(json.dumps(annotation))
                if blob is None:
                    (root / dataset / "img").mkdir(exist_ok=True)
                    (root / dataset / "img" / name).write_bytes(data)
                else:
                    members.setdefault(blob, []).append((name, data))
    for blob, files in members.items():
        with tarfile.open(root / "blob" / f"{blob}.tar", "w", format=tarfile.GNU_FORMAT) as tar:
            for name, data in files:
                member = tarfile.TarInfo(name)
                member.size, member.mtime, member.mode = len(data), 1_700_000_000, 0o644
                tar.addfile(member, io.BytesIO(data))
    for dataset, parts in PLAN.items():
        for blob, first, last in parts:
            if blob is None:
                continue
            names = {encode(i)[0] for i in range(first, last)}
            sly.fs.save_blob_offsets_pkl(
                str(root / "blob" / f"{blob}.tar"), str(root / dataset), filter_func=lambda m, names=names: m in names
            )
    project = sly.Project(str(root), sly.OpenMode.READ)
    print(sly.__version__, project.total_items, sorted(dataset.name for dataset in project.datasets))


if __name__ == "__main__":
    main()
