"""The platform's own flows: the SDK as the client of a stand-in for the server, with what blobdir packs."""

from __future__ import annotations

import copy
import io
import json
import logging
import re
import shutil
import warnings
from pathlib import Path

import pytest
import sdk_cases as cases
import supervisely as sly
from interop.platform_stand_in import TEAM, TOKEN, WORKSPACE, serve
from PIL import Image

import blobdir
import blobdir.demo
from blobdir.cli.app import run
from blobdir.verifying import verify

META = {
    "classes": [c for c in cases.META["classes"] if c["shape"] in cases.SHAPES and c["shape"] != "of the future"],
    "tags": cases.META["tags"],
    "projectType": "images",
}
SHAPES = [shape for shape in cases.SHAPES if shape not in ("any", "of the future", "cuboid")]
"""All that can be uploaded: the SDK has no way for cuboids."""
TAGS = [cases.tagged(kind, values[0]) for kind, values in cases.VALUES.items()]
DATASETS = {"train": 60, "train/hard": 3, "val": len(SHAPES), "füchse 2": 2}
KEPT = ("classTitle", "geometryType", "description", "points", "parts", "bitmap", "nodes", "vertices", "faces", "angle")
"""What of an object has to come back."""


@pytest.fixture(autouse=True, scope="module")
def silent():
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(before)


@pytest.fixture
def platform():
    state, address, stop = serve()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPERVISELY_SKIP_HTTPS_USER_HELPER_CHECK", "true")
        state.api = sly.Api(address, TOKEN, retry_count=1)
        yield state
    stop()


def picture(seed, size=(8, 8)):
    data = io.BytesIO()
    Image.new("RGB", size, (seed % 256, 3, 200)).save(data, "PNG")
    return data.getvalue()


def turned():
    """A picture of 8 × 8 that is stored as 8 × 8, with an EXIF turn: nothing may touch its bytes."""
    data, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 8), (9, 9, 9)).save(data, "JPEG", exif=exif)
    return data.getvalue()


def whole(value):
    """With whole numbers where coordinates are: the SDK's downloads have no others."""
    if isinstance(value, dict):
        return {key: whole(v) if key != "angle" else v for key, v in value.items()}
    return [whole(v) for v in value] if isinstance(value, list) else int(value) if isinstance(value, float) else value


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A regular project with all shapes, tags of all kinds, nested datasets and meta of images."""
    root = tmp_path_factory.mktemp("plain") / "fruit"
    write(root / "meta.json", META)
    for dataset, images in DATASETS.items():
        folder = root / dataset.replace("/", "/datasets/")
        for i in range(images):
            name, data = (f"{i:03}.png", picture(i)) if i else ("ä b.jpg", turned())
            write(folder / "img" / name, data)
            things = [whole(cases.object_of(SHAPES[i % len(SHAPES)], description="ripe", tags=TAGS))]
            if dataset == "train/hard":
                things = []
            value = cases.annotation(*things, tags=TAGS if i % 2 else [], description="tasty" if i % 3 else "")
            write(folder / f"ann/{name}.json", value)
            if i % 5 == 0:
                write(folder / f"meta/{name}.json", {"camera": f"{dataset} {i}", "more": {"f": 2.5}})
    return root


@pytest.fixture(scope="module")
def packed(plain, tmp_path_factory):
    root = tmp_path_factory.mktemp("packed") / "fruit"
    assert blobdir.pack(plain, root).complete
    report = verify(root, decode=True, audience="supervisely")
    assert [(f.code, f.path, f.examples) for f in report.findings] == []
    return root


def shown(root, meta=None):
    """Dataset -> image -> (bytes, annotation, meta), as blobdir reads them; with `meta`, as the SDK then does."""
    project = blobdir.open_project(root)

    def read(value):
        return said(sly.Annotation.from_json(value, meta).to_json() if meta else value)

    return {
        path: {
            name: (dataset.get_blob_img_bytes(name), read(dataset.annotation(name)), meta_of(root, dataset.path, name))
            for name in dataset.names
        }
        for path, dataset in project.items()
    }


def said(annotation):
    """What of an annotation has to come back: the platform adds numbers, times and authors."""
    things = [
        {key: plain_values(thing[key]) for key in KEPT if key in thing} | {"tags": tags_of(thing)}
        for thing in annotation["objects"]
    ]
    things.sort(key=lambda thing: json.dumps(thing, sort_keys=True))
    return annotation["size"], annotation["description"], tags_of(annotation), things


def plain_values(value):
    if isinstance(value, dict):
        return {key: plain_values(v) for key, v in value.items()}
    return [plain_values(v) for v in value] if isinstance(value, list) else value


def tags_of(item):
    return sorted((tag["name"], str(tag.get("value"))) for tag in item["tags"])


def meta_of(root, dataset, name):
    path = root / dataset / f"meta/{name}.json"
    return json.loads(path.read_bytes()) if path.exists() else None


def meta_json(root):
    meta = sly.ProjectMeta.from_json(json.loads((root / "meta.json").read_bytes())).to_json()
    for item in (*meta["classes"], *meta["tags"]):
        item.pop("id", None)
        item.pop("hotkey", None)
    return sorted(meta["classes"], key=str), sorted(meta["tags"], key=str), meta["projectType"]


DOWNLOADS = {"sync": sly.download_project, "async": sly.download_async}


def download(platform, number, root, how):
    DOWNLOADS[how](
        platform.api, number, str(root), download_blob_files=True, save_image_meta=True, log_progress=True
    )  # the SDK's sync download of blobs fails without progress


@pytest.mark.parametrize("how", DOWNLOADS)
def test_upload_project_and_back(platform, packed, tmp_path, how):
    number, _ = sly.upload_project(str(packed), platform.api, WORKSPACE, log_progress=False)
    assert platform.refused == []
    download(platform, number, tmp_path / "back", how)
    assert platform.refused == []
    assert not list((tmp_path / "back").rglob("img/*"))
    expected, found = shown(packed), shown(tmp_path / "back")
    differences(expected, found)
    assert meta_json(tmp_path / "back") == meta_json(packed)


def test_what_an_upload_costs(platform, packed):
    """The figures of docs/guides/platform.md."""
    sly.upload_project(str(packed), platform.api, WORKSPACE, log_progress=False)
    images = sum(DATASETS.values())
    assert platform.requests["images.bulk.add"] == len(DATASETS)  # 10,000 images each
    assert platform.requests["annotations.bulk.add"] == len(DATASETS) + 1  # 50 each: two for 60
    assert platform.requests["file-storage.bulk.upload"] == 1  # 20 MiB each, or a blob
    blobs = sum(path.stat().st_size for path in (packed / "blob").iterdir())
    assert blobs < platform.got["file-storage.bulk.upload"] < blobs + 600 * len(list((packed / "blob").iterdir()))
    assert platform.requests.total() < images
    assert not platform.requests.keys() & {"images.bulk.upload", "images.internal.hashes.list"}
    assert {file["path"] for file in platform.files.values()} == {
        f"/blob-files/{path.name}" for path in (packed / "blob").iterdir()
    }


def test_what_files_cost(platform, plain):
    """The same project, a file for each image."""
    sly.upload_project(str(plain), platform.api, WORKSPACE, log_progress=False)
    requests = platform.requests
    assert platform.refused == []
    assert requests["images.bulk.add"] == requests["annotations.bulk.add"] == 5
    assert 0 < requests["images.bulk.upload"] < 5  # bytes that are there aren't sent again
    assert requests["images.internal.hashes.list"] == len(DATASETS)  # 900 each
    assert not requests.keys() & {"file-storage.bulk.upload", "projects.editInfo"}


@pytest.fixture
def made(platform, packed):
    """A project with the datasets of `packed` and no images: (its number, meta, dataset -> number)."""
    project = platform.api.project.create(WORKSPACE, "by hand")
    meta = platform.api.project.update_meta(project.id, json.loads((packed / "meta.json").read_bytes()))
    datasets = {}
    for dataset in blobdir.open_project(packed):
        parent, _, name = dataset.rpartition("/")
        datasets[dataset] = platform.api.dataset.create(project.id, name, parent_id=datasets.get(parent)).id
    return project.id, meta, datasets


def folders_of(packed):
    """Dataset -> (its folder, its pickle, its blob)."""
    for name, dataset in blobdir.open_project(packed).items():
        folder = packed / dataset.path
        (pickle,) = folder.glob("*_offsets.pkl")
        yield name, folder, pickle, packed / "blob" / f"{pickle.name.removesuffix('_offsets.pkl')}.tar"


def test_quick_import_and_back(platform, packed, made, tmp_path):
    number, meta, datasets = made
    platform.requests.clear()
    for name, folder, pickle, blob in folders_of(packed):
        anns = sorted(map(str, folder.glob("ann/*.json")))
        platform.api.dataset.quick_import(datasets[name], str(blob), str(pickle), anns, meta, sly.ProjectType.IMAGES)
    assert platform.refused == []
    assert platform.requests["images.bulk.add"] == len(DATASETS)
    assert platform.requests["figures.tags.bulk.add"] == len(DATASETS) - 1  # 1000 each; one has no objects
    assert "annotations.bulk.add" not in platform.requests
    download(platform, number, tmp_path / "back", "async")
    differences(lessened(shown(packed, meta)), shown(tmp_path / "back", meta))


def lessened(project):
    """What `quick_import` brings: no descriptions and no meta of images; boxes lose their last row and column."""
    return {
        dataset: {name: (data, less(*annotation), None) for name, (data, annotation, _) in images.items()}
        for dataset, images in project.items()
    }


def less(size, _, tags, things):
    found = []
    for thing in map(copy.deepcopy, things):
        if thing["geometryType"] == "rectangle":
            right = thing["points"]["exterior"][1]
            right[:] = [right[0] - 1, right[1] - 1]
        if thing["geometryType"] == "oriented_bbox":
            thing["points"][1] = [thing["points"][1][0] - 1, thing["points"][1][1] - 1]
        found.append(thing | {"description": ""})
    return size, "", tags, found


def test_upload_blob_images_and_back(platform, packed, made, tmp_path):
    """Images only, from blobs and pickles that are in Team Files already."""
    number, _, datasets = made
    for name, _, pickle, blob in folders_of(packed):
        paths = [f"/mine/{path.name}" for path in (blob, pickle)]
        infos = platform.api.file.upload_bulk(TEAM, [str(blob), str(pickle)], paths)
        platform.api.image.upload_blob_images(datasets[name], infos[0] if name == "train" else paths[0])
    assert platform.refused == []
    download(platform, number, tmp_path / "back", "sync")
    same_bytes(packed, tmp_path / "back")


def test_upload_by_offsets_and_back(platform, packed, made, tmp_path):
    """Images only, by names and ranges."""
    number, _, datasets = made
    for name, _, pickle, blob in folders_of(packed):
        entries = blobdir.offsets.read_offsets(pickle)
        (file,) = platform.api.file.upload_bulk(TEAM, [str(blob)], [f"/mine/{blob.name}"])
        ranges = [{"offsetStart": e.offset_start, "offsetEnd": e.offset_end} for e in entries]
        metas = [{"number": i} for i in range(len(entries))]
        platform.api.image.upload_by_offsets(
            datasets[name], file.id, [entry.name for entry in entries], ranges, metas=metas
        )
    assert platform.refused == []
    download(platform, number, tmp_path / "back", "async")
    same_bytes(packed, tmp_path / "back")
    assert (tmp_path / "back/train/meta/001.png.json").exists()


def differences(expected, found):
    """What isn't equal, in few words."""
    assert found.keys() == expected.keys()
    for dataset, images in expected.items():
        assert found[dataset].keys() == images.keys(), dataset
        for name, value in images.items():
            for part, ours, theirs in zip(("bytes", "annotation", "meta"), value, found[dataset][name], strict=True):
                assert theirs == ours, (dataset, name, part)


def same_bytes(expected, root):
    ours, theirs = shown(expected), shown(root)
    assert {d: {n: data for n, (data, *_) in images.items()} for d, images in theirs.items()} == {
        d: {n: data for n, (data, *_) in images.items()} for d, images in ours.items()
    }


def test_files_beside_a_blob(platform, packed, tmp_path):
    """Images that are files and images in a blob, in one dataset."""
    root = tmp_path / "p"
    shutil.copytree(packed, root)
    write(root / "train/img/loose.png", picture(77))
    write(root / "train/ann/loose.png.json", cases.annotation())
    assert not verify(root, audience="supervisely", processes=1).findings
    number, _ = sly.upload_project(str(root), platform.api, WORKSPACE, log_progress=False)
    for how in DOWNLOADS:
        download(platform, number, tmp_path / how, how)
        differences(shown(root), shown(tmp_path / how))
    assert platform.refused == []


def test_a_dataset_in_several_blobs(platform, plain, tmp_path):
    """It comes back whole by the async download; the SDK's other one leaves images in a blob and as files."""
    root = tmp_path / "p"
    assert blobdir.pack(plain, root, blobdir.PackOptions(shard_images=25)).complete
    report = verify(root, audience="supervisely", processes=1)
    assert {(f.code, f.path, f.severity) for f in report.findings} == {("sdk-download", "train", "warning")}
    number, _ = sly.upload_project(str(root), platform.api, WORKSPACE, log_progress=False)
    download(platform, number, tmp_path / "back", "async")
    assert platform.refused == []
    differences(shown(root), shown(tmp_path / "back"))
    download(platform, number, tmp_path / "damaged", "sync")
    report = verify(tmp_path / "damaged", audience="supervisely", processes=1)
    assert ("sdk-double", "train") in {(f.code, f.path) for f in report.findings}


def test_the_guide(platform, tmp_path, monkeypatch):
    """The Python in docs/guides/platform.md, one block after the other."""
    page = Path(__file__).parents[2] / "docs/guides/platform.md"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SERVER_ADDRESS", platform.api.server_address)
    monkeypatch.setenv("API_TOKEN", TOKEN)
    assert run(["unpack", "-q", str(blobdir.demo.path()), "plain"]) == 0
    assert blobdir.pack("plain", "lemons").complete
    known = {}
    for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(code, str(page), "exec"), known)
    assert platform.refused == []
    assert not verify(tmp_path / "back", audience="supervisely", processes=1).findings
    differences(shown(tmp_path / "lemons", meta := known["meta"]), shown(tmp_path / "back", meta))
    names = {dataset["name"]: dataset["id"] for dataset in platform.datasets.values()}
    images = {name: len(platform.images_of(number)) for name, number in names.items()}
    assert images["quick"] == images["images"] == images["train"] > images["some"] == 10
