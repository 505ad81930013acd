"""Each kind of image file that people have, through packing, a mount, unpacking, pixels, preview and verifying.

The pixels are held against the SDK's in ``tests/interop/test_corpus.py``.
"""

from __future__ import annotations

import io
import json

import pytest
from corpus import KINDS

import blobdir
from blobdir.cli.app import run
from blobdir.errors import ImageError
from blobdir.images import shown_size
from blobdir.testing.deadline import Deadline

NAMES = {what: f"{number:03}{kind.extension}" for number, (what, kind) in enumerate(KINDS.items())}
PACK = {"fine": 0, "damaged": 0, "unknown": 7}
VERIFY = {"fine": 0, "damaged": 6, "unknown": 6}
PREVIEW = {"fine": 0, "damaged": 7, "unknown": 7}
MOUNTED_S = 120


@pytest.fixture(scope="module")
def all_kinds(tmp_path_factory):
    """All of them in one project, packed; and its folder."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "source/d").mkdir(parents=True)
    for what, kind in KINDS.items():
        (folder / "source/d" / NAMES[what]).write_bytes(kind.data)
    assert run(["pack", "-q", "--processes", "1", str(folder / "source"), str(folder / "p")]) == 7
    return folder


@pytest.fixture(scope="module")
def mounted(all_kinds):
    place = all_kinds / "mnt"
    place.mkdir()
    with Deadline(MOUNTED_S, all_kinds), blobdir.mount(all_kinds / "p", place, engine="native") as path:
        yield path


@pytest.fixture(scope="module")
def unpacked(all_kinds):
    assert run(["unpack", "-q", str(all_kinds / "p"), str(all_kinds / "out")]) == 0
    return all_kinds / "out"


def test_there_are_many():
    assert len(KINDS) >= 90


@pytest.mark.parametrize("what", KINDS)
def test_bytes(mounted, unpacked, what):
    for root in (mounted, unpacked):
        assert (root / "d/img" / NAMES[what]).read_bytes() == KINDS[what].data
        assert (root / "d/ann" / f"{NAMES[what]}.json").exists()


@pytest.mark.parametrize("what", KINDS)
def test_pixels_and_sizes(all_kinds, what):
    kind = KINDS[what]
    dataset = blobdir.open_project(all_kinds / "p", index="none")["d"]
    says = dataset.annotation(NAMES[what])["size"]
    size = says["width"], says["height"]
    if kind.state == "unknown":
        assert size == (0, 0)
        with pytest.raises(ImageError):
            shown_size(io.BytesIO(kind.data))
    else:
        assert size == shown_size(io.BytesIO(kind.data))
    if kind.state == "fine":
        assert dataset.get_blob_img_np(NAMES[what]).shape[1::-1] == size
    else:
        with pytest.raises(ImageError, match=NAMES[what]):
            dataset.get_blob_img_np(NAMES[what])


@pytest.mark.parametrize("what", KINDS)
def test_exit_statuses(tmp_path, capfd, what):
    kind, project = KINDS[what], str(tmp_path / "p")
    (tmp_path / "source/d").mkdir(parents=True)
    (tmp_path / "source/d" / kind.name).write_bytes(kind.data)
    assert run(["pack", str(tmp_path / "source"), project]) == PACK[kind.state]
    said = capfd.readouterr().err
    assert ("no-size: d/" in said) == (kind.state == "unknown") == bool(said)
    assert run(["verify", "--decode", "--processes", "1", "--json", project]) == VERIFY[kind.state]
    found = {finding["code"] for finding in json.loads(capfd.readouterr().out)["findings"]}
    assert ("not-decodable" in found) == (kind.state != "fine")
    assert ("annotation-invalid" in found) == (kind.state == "unknown")
    assert kind.state == "unknown" or not found - {"not-decodable"}
    sheet = tmp_path / "sheet.png"
    assert run(["preview", "--tile", "32", "-o", str(sheet), project]) == PREVIEW[kind.state]
    assert sheet.exists()
    assert all(line.startswith(("blobdir: ", str(sheet))) for line in capfd.readouterr().err.splitlines())
