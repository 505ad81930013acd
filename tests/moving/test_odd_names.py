"""Names that a URL, a shell or a bucket could take for something else: pushed, changed, pushed and fetched again."""

import shutil
import unicodedata

import fsspec
import pytest
from changes.looking import faults, shown
from changes.samples import files_below, files_of, packed, picture_of, with_side_files
from folder_bucket import Bucket
from servers import readable

from blobdir.errors import ReadError, SourceChangedError
from blobdir.moving import fetch, push
from blobdir.packing import SubsetOptions, compact, remove

NAMES = (
    "é.png", "e\u0301.png", "50%.png", "%41.png", "a#b.png", "what?.png", " lead.png", "trail .png", "a&b;c=d.png",
    "[x]*.png", "~.png", "c:d.png", "+plus+.png", "..dots.png", "'\".png", "{b}.png", "n" * 240 + ".png", "sign©.png",
)  # fmt: skip
ODD = ("new\nline.png", "back\\slash.png")
"""Names that not every server can say."""
DATASETS = ("train", "50% of #e\u0301")


@pytest.fixture
def there(request, tmp_path):
    """A place in each storage: where it's written, its options, and where it's read."""
    kind, name = request.param, f"odd{abs(hash(tmp_path.name))}"
    if kind == "memory":
        return f"memory://{name}/p q", {}
    if kind == "sftp":
        root, options = request.getfixturevalue("sftp")
        return f"sftp://{root}/{name} %41", options
    protocol, options = {"s3": "s3", "azure": "abfs"}[kind], request.getfixturevalue(kind)
    fsspec.filesystem(protocol, **options).mkdir(name)
    return f"{protocol}://{name}/p q", options


@pytest.mark.parametrize("there", ["memory", "s3", "azure", "sftp"], indirect=True)
@pytest.mark.parametrize("annotations", ["loose", "packed"])
def test_odd_names(request, tmp_path, there, annotations):
    url, options = there
    kind = url.partition(":")[0]
    names = NAMES + ODD * (kind in ("memory", "sftp"))
    images = {f"{d}/{n}": picture_of(n, f"{d} {i}") for d in DATASETS for i, n in enumerate(names)}
    if kind == "abfs":  # it takes what stands between ? and # for a query
        images = {path: data for path, data in images.items() if "?" not in path or "#" not in path}
    root = packed(tmp_path / "p", with_side_files(files_of(images)), annotations=annotations)
    (root / "READ me %41?#.md").write_text("of all") if kind != "abfs" else None
    assert push(root, url, storage_options=options).complete
    assert push(root, url, storage_options=options, resume=True).files == 0
    remove(root, ["train/é.png", "50% of #e\u0301/50%.png"])
    compact(root)
    assert push(root, url, storage_options=options, delete=True).complete
    fetch(url, tmp_path / "all", storage_options=options)
    assert files_below(tmp_path / "all") == files_below(root)
    fetch(url, tmp_path / "some", storage_options=options, choose=SubsetOptions(patterns=("*.png",)))
    for made in ("all", "some"):
        assert shown(tmp_path / made) == shown(root)
        assert faults(tmp_path / made) == []


@pytest.mark.parametrize("there", ["s3", "azure"], indirect=True)
@pytest.mark.parametrize("name", ["a?versionId=7.txt", "a?b#c.txt"])
def test_a_name_that_a_backend_takes_for_another(tmp_path, there, name):
    """It would be written over another file."""
    url, options = there
    root = packed(tmp_path / "p", {"train/a.png": picture_of("a.png", 1)})
    (root / "a").write_text("another")
    (root / name).write_text("odd")
    try:
        push(root, url, storage_options=options)
    except ReadError as error:
        assert name in str(error)
        fs, place = fsspec.url_to_fs(url, **options)
        assert not fs.exists(place) or not fs.find(place)
    else:
        fetch(url, tmp_path / "got", storage_options=options)
        assert files_below(tmp_path / "got") == files_below(root)


@pytest.mark.parametrize("change", [str.lower, lambda name: unicodedata.normalize("NFC", name)], ids=["case", "NFC"])
def test_a_server_that_changes_names(bucket, tmp_path, monkeypatch, change):
    images = {f"train/{n}": picture_of(n, i) for i, n in enumerate(["A.png", "a.png", "é.png", "e\u0301.png"])}
    root = packed(tmp_path / "p", images)
    write = Bucket.pipe_file
    monkeypatch.setattr(Bucket, "pipe_file", lambda self, path, value, **o: write(self, change(path), value, **o))
    report = push(root, "tested://up")
    assert not report.complete
    assert set(report.failed) & {"train/ann/A.png.json", "train/ann/e\u0301.png.json"}
    with pytest.raises(SourceChangedError):
        fetch("tested://up", tmp_path / "got")


def test_odd_names_over_http(nginx, tmp_path):
    www, url, _ = nginx
    names = [name for name in NAMES if not name.startswith(".")]  # which nginx doesn't list
    images = {f"{d}/{n}": picture_of(n, f"{d} {i}") for d in DATASETS for i, n in enumerate(names)}
    root = packed(tmp_path / "p", with_side_files(files_of(images)))
    place = www / "odd names"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(root, place)
    readable(place)
    fetch(f"{url}/odd%20names", tmp_path / "all")
    assert files_below(tmp_path / "all") == files_below(root)
    fetch(f"{url}/odd%20names", tmp_path / "some", choose=SubsetOptions(patterns=("*.png",)))
    assert shown(tmp_path / "some") == shown(root)
