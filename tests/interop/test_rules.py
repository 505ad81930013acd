"""What `verify` says of annotations and ``meta.json``, against what the SDK refuses."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import logging
import random
import warnings

import pytest
import sdk_cases as cases
import supervisely as sly

from blobdir.sdkrules import BITMAPS, classes_demanded, meta_faults, tags_demanded
from blobdir.smallfiles import ANNOTATION, Known, look_at
from blobdir.verifying.bitmaps import pixels_fault

BOXED = {"line", "polygon", "multipolygon"}
"""Of these only the box around them is looked at."""
TAGS_NO_LIST = "annotation-invalid"  # empty texts and objects, which the SDK takes for empty lists
KNOWN = Known(classes_demanded(cases.META["classes"]), tags_demanded(cases.META["tags"]))


@pytest.fixture(autouse=True, scope="module")
def silent():
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(before)


@pytest.fixture(scope="module")
def meta():
    return sly.ProjectMeta.from_json(cases.META)


def is_refused(value, meta):
    try:
        with contextlib.redirect_stdout(None):
            sly.Annotation.from_json(json.loads(json.dumps(value)), meta)
    except Exception:
        return True
    return False


def remarks(value):
    found = look_at(ANNOTATION, json.dumps(value).encode(), KNOWN)
    return [remark for remark in found if remark[0] != "json-number"]


@pytest.mark.parametrize("case", cases.SOUND)
def test_sound_annotations(case, meta):
    assert remarks(cases.SOUND[case]) == []
    assert not is_refused(cases.SOUND[case], meta)


@pytest.mark.parametrize("case", cases.REFUSED)
def test_refused_annotations(case, meta):
    code, value = cases.REFUSED[case]
    assert [code] == [code for code, _ in remarks(value)]
    assert is_refused(value, meta)


def test_what_the_sdk_reads_and_cannot_write(meta):
    value = cases.NOT_WRITTEN[1]
    assert remarks(value) == [] and not is_refused(value, meta)
    assert [code for code, _ in look_at(ANNOTATION, json.dumps(value).encode(), KNOWN._replace(uploads=True))] == [
        "sdk-upload"
    ]
    with pytest.raises(AttributeError):
        sly.Annotation.from_json(value, meta).to_json()


@pytest.mark.parametrize("shape", cases.SHAPES)
@pytest.mark.parametrize("of", ["its own", "any"])
def test_whatever_may_be_wrong_with_an_object(shape, of, meta):
    value = cases.annotation(cases.object_of(shape, "any" if of == "any" else ""))
    wrong = []
    for what, other in cases.changed(value, ("objects", 0)):
        if ".data" in what:
            continue  # pixels
        found = remarks(other)
        if bool(found) != is_refused(other, meta) and TAGS_NO_LIST not in dict(found):
            wrong.append((what, remarks(other)))
    assert wrong == []


@pytest.mark.parametrize("case", cases.OUTSIDE)
def test_what_lies_outside(case, meta):
    value = cases.annotation(cases.OUTSIDE[case], size={"height": 7, "width": 9})
    assert not sly.Annotation.from_json(copy.deepcopy(value), meta).labels


def moved(value, x, y):
    if isinstance(value, list) and len(value) == 2 and all(isinstance(number, (int, float)) for number in value):
        return [value[0] + x, value[1] + y]
    if isinstance(value, list):
        return [moved(part, x, y) for part in value]
    return {key: moved(part, x, y) for key, part in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("shape", cases.SHAPES)
@pytest.mark.parametrize("of", ["its own", "any"])
def test_objects_outside_of_the_picture(shape, of, meta):
    """Those that the SDK drops. What a bitmap covers isn't known before it's decoded."""
    if shape in ("cuboid", "any", "of the future") or (of == "any" and shape in ("graph", "cuboid_2d")):
        return
    wrong = []
    for x, y in itertools.product((-9, -6.3, -3, -1, 0, 1, 2.4, 4, 6.6, 9), repeat=2):
        if shape in BITMAPS and (min(x, y) < 0 or shape == "multichannelBitmap" or x % 1 or y % 1):
            continue
        thing = moved(cases.object_of(shape, "any" if of == "any" else ""), x, y)
        value = cases.annotation(thing)
        try:
            is_dropped = not sly.Annotation.from_json(value, meta).labels
        except Exception:  # the SDK's own way with it
            continue
        found = look_at(ANNOTATION, json.dumps(value).encode(), KNOWN._replace(uploads=True))
        is_said = [code for code, _ in found] == ["sdk-outside"]
        is_known = shape not in ("polygon", "multipolygon", "line")  # of these only the box around them is
        if is_said > is_dropped or (is_known and is_said != is_dropped):
            wrong.append((x, y, found, is_dropped))
    assert wrong == []


AROUND = (-9, -1.3, -1, -0.99, -0.5, -0.3, -1e-9, 0, 0.4, 2, 5.5)
"""Places at an edge; at the other one as far from it."""


@pytest.mark.parametrize("shape", [shape for shape in cases.SHAPES if shape not in {*BITMAPS, "cuboid", "any"}])
def test_objects_at_the_edges_in_fractions_of_pixels(shape, meta):
    """The SDK rounds down, and of an area that only touches the edge nothing is left."""
    if shape == "of the future":
        return
    rng, wrong, said = random.Random(shape), [], 0

    def changed(value, side, sign):
        if isinstance(value, list) and len(value) == 2 and all(isinstance(number, (int, float)) for number in value):
            found = [rng.uniform(-2, 11), rng.uniform(-2, 9)]
            at = rng.choice(AROUND)
            found[side] = at if sign < 0 else (9, 7)[side] - 1 - at
            return found
        if isinstance(value, list):
            return [changed(part, side, sign) for part in value]
        return {key: changed(part, side, sign) for key, part in value.items()} if isinstance(value, dict) else value

    for _ in range(400):
        thing = changed(cases.object_of(shape), rng.randrange(2), rng.choice((-1, 1)))
        value = cases.annotation(thing, size={"height": 7, "width": 9})
        is_dropped = not sly.Annotation.from_json(copy.deepcopy(value), meta).labels
        is_said = [code for code, _ in look_at(ANNOTATION, json.dumps(value).encode(), KNOWN._replace(uploads=True))]
        said += bool(is_said)
        if bool(is_said) > is_dropped or (shape not in BOXED and bool(is_said) != is_dropped):
            wrong.append((thing, is_said, is_dropped))
    assert wrong == []
    assert said > 40 or shape == "oriented_bbox"


@pytest.mark.parametrize("kind", cases.VALUES)
def test_whatever_may_be_wrong_with_a_tag(kind, meta):
    value = cases.annotation(tags=[cases.tagged(kind, cases.VALUES[kind][0])])
    for what, other in cases.changed(value, ("tags",)):
        assert bool(remarks(other)) == is_refused(other, meta), what


@pytest.mark.parametrize("key", ["classes", "tags"])
def test_whatever_may_be_wrong_with_meta_json(key):
    name = {"classes": "title", "tags": "name"}[key]
    for item in cases.META[key]:
        for what, other in cases.changed({"classes": [], "tags": [], key: [item]}, (key, 0)):
            if not isinstance(other[key][0].get(name), str):
                continue  # said in other words
            if what.startswith("tags.0.values = ") and not isinstance(other[key][0].get("values"), list):
                continue  # the SDK takes a text or an object for a list of letters or keys
            try:
                sly.ProjectMeta.from_json(json.loads(json.dumps(other)))
                is_refused = False
            except Exception:
                is_refused = True
            assert bool(meta_faults(other)) == is_refused, (item, what)


def test_whatever_may_be_wrong_with_settings():
    value = cases.with_settings(cases.SETTINGS)
    for what, other in [("as it is", value), *cases.changed(value, ("projectSettings",))]:
        try:
            sly.ProjectMeta.from_json(json.loads(json.dumps(other)))
            is_refused = False
        except Exception:
            is_refused = True
        assert bool(meta_faults(other)) == is_refused, what


@pytest.mark.parametrize("case", cases.REFUSED_META)
def test_refused_meta_json(case):
    value = cases.REFUSED_META[case]
    assert len(meta_faults(value)) == 1
    with pytest.raises(Exception):  # noqa: B017, PT011  # whatever it is
        sly.ProjectMeta.from_json(value)


def test_sound_meta_json():
    assert meta_faults(cases.META) == []


@pytest.mark.parametrize("case", cases.PIXELS)
def test_refused_pixels(case, meta):
    assert pixels_fault(*cases.PIXELS[case])
    assert is_refused(cases.with_pixels(*cases.PIXELS[case]), meta)


@pytest.mark.parametrize("case", cases.SOUND_PIXELS)
def test_sound_pixels(case, meta):
    assert pixels_fault(*cases.SOUND_PIXELS[case]) == ""
    assert not is_refused(cases.with_pixels(*cases.SOUND_PIXELS[case]), meta)
