"""What the SDK refuses in annotations and ``meta.json``, without the SDK: tests/interop holds the same against it."""

from __future__ import annotations

import json

import pytest
import sdk_cases as cases
from verifying.planted import codes, found, name

from blobdir.cli.app import run
from blobdir.verifying import verify


def write(made, value=None, meta=cases.META, place="train"):
    made.loose("meta.json", json.dumps(meta).encode())
    if value is not None:
        made.loose(f"{place}/ann/{name(3)}.json", json.dumps(value | {"size": {"height": 7, "width": 9}}).encode())


def test_what_is_sound(made):
    for case, value in cases.SOUND.items():
        write(made, value)
        assert found(made) == {}, case
    uploaded = [cases.object_of(shape) for shape in cases.SHAPES if shape != "cuboid"]
    write(made, cases.annotation(*uploaded))
    assert codes(made, audience="supervisely") == {"sdk-packed"}
    assert codes(made, decode=True) == set()


@pytest.mark.parametrize("case", cases.REFUSED)
def test_what_is_refused(made, case):
    code, value = cases.REFUSED[case]
    write(made, value)
    seen = found(made)
    seen.pop(("json-number", "train"), None)
    assert {key: finding.severity for key, finding in seen.items()} == {(code, "train"): "warning"}
    assert seen[code, "train"].examples[0].startswith(f"{name(3)}.json: ")
    assert found(made, audience="supervisely")[code, "train"].severity == "error"


@pytest.mark.parametrize("case", [*cases.NOT_UPLOADED, "not written"])
def test_what_can_be_read_and_not_uploaded(made, case):
    """tests/interop/test_platform_faults.py has the SDK try it."""
    path, value = (cases.NOT_UPLOADED | {"not written": cases.NOT_WRITTEN})[case]
    if "size" in value if isinstance(value, dict) else False:
        value = value | {"size": {"height": 7, "width": 9}}
    write(made)
    made.loose(path.format(name(3)), json.dumps(value).encode())
    assert codes(made) == set()
    where = path if path == "meta.json" else "train"
    assert found(made, audience="supervisely")["sdk-upload", where].severity == "error"


@pytest.mark.parametrize("case", cases.OUTSIDE)
@pytest.mark.parametrize("of", ["its own", "any"])
def test_what_lies_outside(made, case, of):
    thing = cases.OUTSIDE[case]
    if of == "any" and thing["geometryType"] not in ("graph", "cuboid_2d"):
        thing = thing | {"classTitle": "c any"}
    write(made, cases.annotation(thing))
    assert codes(made) == set()
    assert found(made, audience="supervisely")["sdk-outside", "train"].severity == "error"


def test_packed_annotations_are_looked_at_too(made):
    members = {f"{name(100 + i)}.json": json.dumps(cases.REFUSED["no points"][1]).encode() for i in range(24)}
    made.offsets("val/ann.blob", "n", made.tar("n", members, folder="val/ann.blob"))
    write(made)
    assert found(made)["sdk-object", "val"].count == 24


@pytest.mark.parametrize("case", cases.REFUSED_META)
def test_meta_json_that_is_refused(made, case):
    write(made, meta=cases.REFUSED_META[case])
    assert {key: finding.severity for key, finding in found(made).items()} == {("sdk-meta", "meta.json"): "warning"}
    assert found(made, audience="supervisely")["sdk-meta", "meta.json"].severity == "error"


@pytest.mark.parametrize("case", cases.PIXELS)
@pytest.mark.parametrize("of", ["its own", "any"])
def test_pixels_of_bitmaps(made, case, of):
    """Only --decode looks at them, and that they weren't looked at is said."""
    shape, data = cases.PIXELS[case]
    value = cases.with_pixels(shape, data)
    if of == "any":
        value["objects"][0]["classTitle"] = "c any"
    write(made, value)
    assert codes(made) == set()
    assert {key: finding.severity for key, finding in found(made, decode=True).items()} == {
        ("sdk-object", "train"): "warning"
    }


def test_sound_pixels(made):
    for case, (shape, data) in cases.SOUND_PIXELS.items():
        write(made, cases.with_pixels(shape, data))
        assert codes(made, decode=True) == set(), case


def test_a_bitmap_that_unpacks_to_more_than_can_be_looked_at(made, monkeypatch):
    from blobdir import storedmasks
    from blobdir.verifying import bitmaps

    monkeypatch.setattr(storedmasks, "MOST_BYTES", 50)
    assert "too many" in bitmaps.pixels_fault(*cases.SOUND_PIXELS["with alpha"])


def test_what_was_not_looked_at_is_said(made, capfd):
    write(made, cases.SOUND["all"])
    for option, is_said in (([], True), (["--decode"], False)):
        assert run(["verify", *option, str(made.root)]) == 0
        assert ("of bitmaps in annotations" in capfd.readouterr().out) == is_said


def test_many_faults_are_all_counted(made):
    value = cases.annotation(*[cases.object_of("point", points=None)] * 30)
    write(made, value)
    finding = next(f for f in verify(made.root).findings if f.code == "sdk-object")
    assert finding.count == 30
