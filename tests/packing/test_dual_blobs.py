"""Blobs that are WebDataset shards, too: webdataset and GNU tar read them, and no change mixes them up."""

from __future__ import annotations

import io
import json
import random
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import fsspec
import pytest
import webdataset
from folder_bucket import files
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from blobdir import ImageStore
from blobdir.cli.app import run
from blobdir.errors import PackError, UsageError
from blobdir.moving import fetch, pack_to, push
from blobdir.offsets import read_offsets, write_offsets
from blobdir.offsets.choosing import key_of
from blobdir.offsets.names import is_called, keyed, unkeyed
from blobdir.packing import (
    PackOptions,
    SubsetOptions,
    add,
    compact,
    merge,
    move,
    pack,
    relabel,
    relabelling,
    remove,
    subset,
)
from blobdir.packing.newfolder import NewFolder
from blobdir.packing.report import ChangeReport
from blobdir.packing.samples import Samples
from blobdir.tarwriting import reading
from blobdir.tarwriting.reading import FileReader, UnreadableError
from blobdir.verifying import verify

COMMAND = str(Path(sys.executable).with_name("blobdir"))
DUAL = PackOptions(layout="webdataset")
NAMES = (
    "a.jpg", "a.png", "a.b.png", "IMG.2024.jpg", "IMG.2025.jpg", "x_jpg.rf.0ab.jpg", "100%25.jpg", "100%.q.jpg",
    "ï b.JPG", "plain.jpg", "q%2Ez.jpg", "q.z.jpg", "n" * 95 + ".jpg",
)  # fmt: skip


def picture(seed):
    data = io.BytesIO()
    Image.frombytes("RGB", (8, 6), random.Random(seed).randbytes(144)).save(data, "PNG")
    return data.getvalue()


def label(text):
    return json.dumps({"description": text, "tags": [], "size": {"height": 6, "width": 8}, "objects": []}).encode()


@pytest.fixture
def regular(tmp_path):
    """A regular project of two datasets with the same names, and no bytes in common."""
    root = tmp_path / "regular"
    for d, dataset in enumerate(("train", "val")):
        for folder in ("img", "ann"):
            (root / dataset / folder).mkdir(parents=True)
        for i, name in enumerate(NAMES):
            (root / dataset / "img" / name).write_bytes(picture(100 * d + i))
            (root / dataset / "ann" / f"{name}.json").write_bytes(label(f"SECRET {dataset} {name}"))
    (root / "meta.json").write_text('{"classes": [], "tags": [], "projectType": "images"}')
    return root


@pytest.fixture
def dual(regular, tmp_path):
    assert pack(regular, tmp_path / "dual", DUAL).complete
    return tmp_path / "dual"


def tars(project):
    return sorted((project / "blob").glob("*.tar"))


def samples(project):
    """(Image, annotation) of all samples that webdataset finds, sorted."""
    found = []
    for tar in tars(project):
        for sample in webdataset.WebDataset(str(tar), shardshuffle=False, empty_check=False):
            (image,) = (sample[key] for key in sample if key in ("jpg", "png"))
            assert {key for key in sample if key[0] != "_"} <= {"jpg", "png", "json"}
            found.append((image, sample.get("json")))
    return sorted(found, key=str)


def shown(project):
    """(Image, annotation) of all images that blobdir shows, by path."""
    fs = fsspec.filesystem("blobdir", fo=str(project), skip_instance_cache=True)
    found = {}
    for path in fs.find(""):
        dataset, is_image, name = path.partition("/img/")
        if is_image:
            ann = f"{dataset}/ann/{name}.json"
            found[path] = fs.cat_file(path), fs.cat_file(ann) if fs.exists(ann) else None
    return found


def check(project):
    """WebDataset has the same samples as blobdir, and `verify` is content."""
    assert {f.code for f in verify(project, decode=True, audience="supervisely").findings} <= {"sdk-download"}
    assert samples(project) == sorted(shown(project).values(), key=str)


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "lock"}


# -- names ---------------------------------------------------------------------------------------------------

dotted = st.text("a.%2E5bJ/", min_size=1, max_size=12).map(lambda stem: stem.replace("/", "_"))
names = st.builds(lambda stem, end: stem + end, dotted, st.sampled_from([".jpg", ".JPG", ".png", "", ".json"]))


@given(st.lists(names, unique=True, max_size=8))
@example(["2.json", "2..json"])
@example(["a.jpg", "a.png", "a..jpg", ".a.jpg"])
def test_no_two_images_share_a_key_and_entries_fit_one_member_only(found):
    found = [name for name in found if not set(name) <= {"."}]
    called = [name.encode() for name in Samples(found).called]
    keys = [key_of(name) for name in called if b"." in name.rpartition(b"/")[2][1:] and not key_of(name).endswith(b"/")]
    keys = list(filter(None, keys))  # what has none is no sample
    assert len(set(keys)) == len(keys)
    for i, name in enumerate(found):
        raw = name.encode()
        assert unkeyed(keyed(raw)) == raw or keyed(raw) == raw
        fitting = [number for number, member in enumerate(called) if is_called(raw, member)]
        assert i in fitting
        assert all(called[number].rpartition(b"/")[2] == raw for number in fitting if number != i)


# -- packing -------------------------------------------------------------------------------------------------


def test_all_readers_see_the_same(regular, dual, tmp_path):
    assert len(shown(dual)) == 2 * len(NAMES)
    for path, (image, annotation) in shown(dual).items():
        assert (regular / path).read_bytes() == image
        assert (regular / f"{path.replace('/img/', '/ann/')}.json").read_bytes() == annotation
    check(dual)
    for tar in tars(dual):
        target = tmp_path / tar.name
        target.mkdir()
        subprocess.run(["tar", "-xf", tar, "-C", target], check=True)
        assert sum(path.is_file() for path in target.rglob("*")) == 2 * len(NAMES)
        with tarfile.open(tar) as members:
            listed = members.getnames()
        assert [n.rpartition(".")[0] for n in listed[::2]] == [n.rpartition(".")[0] for n in listed[1::2]]


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("shard_images", [0, 4])
def test_bytes_depend_on_the_source_only(regular, tmp_path, processes, shard_images):
    options = PackOptions(layout="webdataset", shard_images=shard_images, processes=processes)
    pack(regular, tmp_path / "one", options)
    pack(regular, tmp_path / "plain", PackOptions(shard_images=shard_images))
    check(tmp_path / "one")
    relabel(tmp_path / "plain")
    assert content(tmp_path / "one") == content(tmp_path / "plain")


def test_plain_folders_and_their_labels(tmp_path):
    for i, name in enumerate(NAMES):
        place = tmp_path / "photos" / "red" / ("x" if i % 2 else "y") / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture(i))
    assert pack(tmp_path / "photos", tmp_path / "packed", DUAL).complete
    check(tmp_path / "packed")
    assert all(annotation for _, annotation in samples(tmp_path / "packed"))


def test_images_that_turn_out_to_be_lost_leave_no_annotation(tmp_path, monkeypatch):
    for i, name in enumerate(NAMES):
        place = tmp_path / "photos" / "red" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture(i))
    read = FileReader.read

    def fail(self, source, *rest):
        if source == b"red/a.b.png":
            raise UnreadableError("unreadable", "can't be read: by order")
        return read(self, source, *rest)

    monkeypatch.setattr(FileReader, "read", fail)
    report = pack(tmp_path / "photos", tmp_path / "packed", DUAL)
    assert [problem.code for problem in report.problems] == ["unreadable"]
    assert not (tmp_path / "packed" / "red" / "ann" / "a.b.png.json").exists()
    check(tmp_path / "packed")
    assert len(shown(tmp_path / "packed")) == len(NAMES) - 1


@pytest.mark.parametrize("change", ["nothing", "label", "layout"])
def test_resumed(regular, tmp_path, monkeypatch, change):
    dest = tmp_path / "dest"
    monkeypatch.setattr(reading, "TICK_NS", -(10**10))  # what was just written counts as old
    with monkeypatch.context() as patch:
        patch.setattr(NewFolder, "publish", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            pack(regular, dest, PackOptions() if change == "layout" else DUAL)
    if change == "label":
        (regular / "val" / "ann" / "plain.jpg.json").write_bytes(label("another"))
    report = pack(regular, dest, DUAL, resume=True)
    assert report.resumed == {"nothing": 2, "label": 1, "layout": 0}[change]
    pack(regular, tmp_path / "fresh", DUAL)
    assert content(dest) == content(tmp_path / "fresh")


def test_names_that_are_too_long_are_packed_without_a_label_and_named(regular, tmp_path):
    name = "l." + "o." * 100 + "x.jpg"
    (regular / "train" / "img" / name).write_bytes(picture(77))
    (regular / "train" / "ann" / f"{name}.json").write_bytes(label("long"))
    report = pack(regular, tmp_path / "dual", DUAL)
    assert [(p.code, p.path) for p in report.problems] == [("no-sample", f"train/img/{name}")]
    assert shown(tmp_path / "dual")[f"train/img/{name}"] == (picture(77), label("long"))
    assert verify(tmp_path / "dual", decode=True).findings == []
    with_it = [s for t in tars(tmp_path / "dual") for s in webdataset.WebDataset(str(t), shardshuffle=False)]
    assert len({sample["__key__"] + sample["__url__"] for sample in with_it}) == 2 * len(NAMES) + 1


def test_dry_run_and_options(regular, tmp_path):
    report = pack(regular, tmp_path / "dual", DUAL, dry_run=True)
    assert (report.images, list(tmp_path.glob("dual*"))) == (2 * len(NAMES), [])
    with pytest.raises(UsageError, match="leave annotations loose"):
        PackOptions(layout="webdataset", annotations="packed")
    with pytest.raises(UsageError, match="choose one of files, webdataset"):
        PackOptions(layout="tar")
    command = [COMMAND, "pack", regular, tmp_path / "dual", "--layout", "webdataset", "--quiet"]
    subprocess.run(command, check=True, timeout=60)
    check(tmp_path / "dual")


# -- changes -------------------------------------------------------------------------------------------------


def bytes_of_tars(project):
    return b"".join(tar.read_bytes() for tar in tars(project))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "IMG.2024.jpg", "plain.jpg", "q.z.jpg"])
def test_what_was_removed_goes_with_its_label(dual, name):
    before = shown(dual)
    remove(dual, [f"train/{name}"])
    compact(dual)
    held = bytes_of_tars(dual)
    for path, (image, annotation) in before.items():
        is_gone = path == f"train/img/{name}"
        assert (image in held) is (annotation in held) is not is_gone
    check(dual)


@pytest.mark.parametrize("changed", ["move", "subset", "merge", "add", "replace"])
def test_changes_mix_nothing_up(dual, regular, tmp_path, changed):
    before = shown(dual)
    project, expected = dual, dict(before)
    if changed == "move":
        move(dual, ["train/IMG.2024.jpg", "train/a.jpg"], "new")
        for name in ("IMG.2024.jpg", "a.jpg"):
            expected[f"new/img/{name}"] = expected.pop(f"train/img/{name}")
    elif changed == "subset":
        project = tmp_path / "subset"
        subset(dual, project, SubsetOptions(datasets=["train"], patterns=["train/a*"]))
        expected = {path: pair for path, pair in before.items() if path.startswith("train/img/a")}
    elif changed == "merge":
        other = tmp_path / "other"
        pack(regular, tmp_path / "plain")
        (tmp_path / "plain").rename(other)
        shutil.move(other / "val", other / "test")
        shutil.rmtree(other / "train")
        merge(dual, other)
        expected |= {path.replace("val/", "test/"): pair for path, pair in before.items() if path.startswith("val/")}
    else:
        new = tmp_path / "new"
        (new / "ann").mkdir(parents=True)
        name = "a.jpg" if changed == "replace" else "fresh.one.jpg"
        (new / name).write_bytes(picture(99))
        (new / "ann" / f"{name}.json").write_bytes(label("fresh"))
        add(dual, "train", [new / name], annotations=new / "ann", replace=changed == "replace")
        expected[f"train/img/{name}"] = picture(99), label("fresh")
    assert shown(project) == expected
    compact(project)
    assert shown(project) == expected
    relabel(project)
    assert shown(project) == expected
    check(project)


@pytest.mark.parametrize("how", ["edited", "removed", "put back"])
def test_a_stale_label_is_said_and_renewed(dual, how):
    place = dual / "train" / "ann" / "IMG.2024.jpg.json"
    if how == "put back":
        relabel(dual, layout="files")
        relabel(dual)
    old = label("SECRET train IMG.2024.jpg")
    if how != "removed":
        place.write_bytes(label("edited"))
    else:
        place.unlink()
    found = [finding for finding in verify(dual).findings if finding.code == "label-stale"]
    assert [(f.count, f.severity) for f in found] == [(1, "warning")]
    assert "train/IMG.2024.jpg" in found[0].examples[0]
    before = content(dual)
    assert len(relabel(dual, dry_run=True).replaced) == (how != "removed")
    assert content(dual) == before
    report = relabel(dual)
    if how == "removed":  # it may be the only one
        assert "label-kept" in {problem.code for problem in report.problems}
        assert old in bytes_of_tars(dual)
        return
    assert old not in bytes_of_tars(dual)
    check(dual)
    again = content(dual)
    relabel(dual)
    assert content(dual) == again


def test_back_to_files(dual):
    before = shown(dual)
    subprocess.run([COMMAND, "compact", dual, "--layout", "files", "-q"], check=True, timeout=60)
    assert shown(dual) == before
    assert b"SECRET" not in bytes_of_tars(dual)
    assert {annotation for _, annotation in samples(dual)} == {None}
    assert verify(dual, audience="supervisely").findings == []


def test_an_image_of_two_datasets_has_the_annotation_on_which_they_agree(dual):
    (pickle,) = (dual / "train").glob("*_offsets.pkl")
    (dual / "twin" / "ann").mkdir(parents=True)
    shutil.copy(pickle, dual / "twin")
    for place in (dual / "train" / "ann").iterdir():
        shutil.copy(place, dual / "twin" / "ann")
    before = content(dual)
    relabel(dual)
    assert content(dual) == before
    (dual / "twin" / "ann" / "plain.jpg.json").write_bytes(label("another"))
    assert [f.count for f in verify(dual).findings if f.code == "label-stale"] == [1]
    report = relabel(dual)
    (said,) = (problem.message for problem in report.problems if problem.code == "label-kept")
    assert said == "plain.json stays as it is: its annotations differ: train, twin"
    assert shown(dual)["train/img/plain.jpg"][1] == label("SECRET train plain.jpg")
    assert shown(dual)["twin/img/plain.jpg"][1] == label("another")


def test_packed_annotations_are_refused(regular, tmp_path):
    pack(regular, tmp_path / "packed", PackOptions(annotations="packed"))
    before = content(tmp_path / "packed")
    with pytest.raises(UsageError, match=r"train/ann.blob: holds annotations in tars"):
        relabel(tmp_path / "packed")
    relabel(tmp_path / "packed", layout="files")
    assert content(tmp_path / "packed") == before


def test_json_of_others_stays(tmp_path):
    project = tmp_path / "project"
    for folder in ("blob", "train/ann"):
        (project / folder).mkdir(parents=True)
    (project / "meta.json").write_text('{"classes": [], "tags": [], "projectType": "images"}')
    with tarfile.open(project / "blob" / "x.tar", "w") as tar:
        for name, data in {"a.jpg": picture(1), "a.json": b'{"caption": "mine"}', "b.jpg": picture(2)}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    subprocess.run(
        [COMMAND, "offsets", project / "blob" / "x.tar", "--output", project / "train", "-q"], check=True, timeout=60
    )
    for name in ("a.jpg", "b.jpg"):
        (project / "train" / "ann" / f"{name}.json").write_bytes(label(name))
    assert "label-stale" not in {finding.code for finding in verify(project).findings}
    report = relabel(project)
    assert [p.code for p in report.problems if p.code == "label-kept"] == ["label-kept"]
    assert set(samples(project)) == {(picture(1), b'{"caption": "mine"}'), (picture(2), label("b.jpg"))}
    relabel(project, layout="files")
    assert set(samples(project)) == {(picture(1), b'{"caption": "mine"}'), (picture(2), None)}


@pytest.mark.parametrize("fault", ["shifted", "lost"])
def test_offsets_are_mended_under_the_names_of_the_images(dual, fault):
    remove(dual, ["train/q%2Ez.jpg"])  # could mean two members, and would be left as it is, and named
    compact(dual)
    before = shown(dual)
    (pickle,) = (dual / "train").glob("*_offsets.pkl")
    if fault == "lost":
        pickle.write_bytes(b"no pickle")
    else:
        table = read_offsets(pickle.read_bytes())
        write_offsets(pickle, [(name, start + 512, end + 512) for name, start, end in table.entries()])
    assert verify(dual).errors
    subprocess.run([COMMAND, "verify", dual, "--repair"], check=True, timeout=60)
    assert shown(dual) == before
    check(dual)


def test_pushed_packed_there_and_fetched(regular, dual, tmp_path, bucket, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    push(dual, "tested://up")
    assert files(bucket) == files(dual)
    fetch("tested://up", tmp_path / "fetched")
    assert files(tmp_path / "fetched") == files(dual)
    fetch("tested://up", tmp_path / "some", choose=SubsetOptions(patterns=["train/[Ia]*"]))
    chosen = ("train/img/a", "train/img/I")
    assert shown(tmp_path / "some") == {path: pair for path, pair in shown(dual).items() if path.startswith(chosen)}
    relabel(tmp_path / "some")
    check(tmp_path / "some")
    pack_to(regular, "tested://again", DUAL)
    assert files(bucket.parent / "again") == files(dual)


# -- beside stores, and what compact says and checks -----------------------------------------------------------


@pytest.fixture
def called_store(regular, tmp_path):
    """Small shards that are called as stores call their blobs, and could be folded by their sizes."""
    (regular / "train").rename(regular / "store")
    for place in [*regular.glob("*/*/*")]:
        name = place.name.removesuffix(".json")
        plain = f"{NAMES.index(name)}.jpg"  # a member's name is the image's
        place.rename(place.with_name(place.name.replace(name, plain)))
    pack(regular, tmp_path / "dual", PackOptions(layout="webdataset", shard_images=4))
    assert len(list((tmp_path / "dual" / "blob").glob("store-0*.tar"))) == 4
    return tmp_path / "dual"


@pytest.mark.parametrize("way", ["compact", "unreferenced", "dry run", "commit"])
def test_shards_that_are_called_like_a_stores_blobs_are_never_folded(called_store, way):
    before, tar_files, number = shown(called_store), content(called_store / "blob"), len(tars(called_store))
    if way == "commit":
        ImageStore(called_store, dataset="store")["new.jpg"] = picture(5) * 100
        new = shown(called_store).keys() - before.keys()
        assert new == {"store/img/new.jpg"}
        left = content(called_store / "blob")
        assert {name: left.get(name) for name in tar_files if name.endswith(".tar")}.items() <= tar_files.items()
        return
    report = compact(called_store, unreferenced=way == "unreferenced", dry_run=way == "dry run")
    assert (report.folded, len(tars(called_store))) == (0, number)
    assert shown(called_store) == before
    if way != "unreferenced":
        assert content(called_store / "blob") == tar_files


def test_shards_that_are_called_like_a_stores_blobs_are_relabelled(called_store):
    (called_store / "store" / "ann" / "3.jpg.json").write_bytes(label("edited"))
    assert len(relabel(called_store).blobs) == 1
    check(called_store)
    relabel(called_store, layout="files")
    assert b"SECRET" not in bytes_of_tars(called_store)


@pytest.mark.parametrize("layout", ["files", "webdataset"])
def test_blobs_of_stores_stay(tmp_path, layout):
    with ImageStore(tmp_path / "p") as store:
        store["a.jpg"] = picture(1)
    (tmp_path / "p" / "images" / "ann").mkdir(exist_ok=True)
    (tmp_path / "p" / "images" / "ann" / "a.jpg.json").write_bytes(label("a"))
    before = content(tmp_path / "p")
    report = relabel(tmp_path / "p", layout=layout)
    assert [problem.code for problem in report.problems] == ["label-kept"] * (layout == "webdataset")
    assert content(tmp_path / "p") == before


def test_a_private_shard_stays_private_from_its_first_byte(dual, monkeypatch):
    seen, copy = [], relabelling._Blob.copy
    for tar in tars(dual):
        tar.chmod(0o600)

    def looked_at(*given):
        seen.extend(path.stat().st_mode & 0o077 for path in (dual / ".blobdir/staging").iterdir())
        return copy(*given)

    monkeypatch.setattr(relabelling._Blob, "copy", looked_at)
    relabel(dual, layout="files")
    assert set(seen) == {0}
    assert {tar.stat().st_mode & 0o777 for tar in tars(dual)} == {0o600}


@pytest.mark.parametrize("dry_run", [False, True])
def test_damage_doesnt_become_official(regular, tmp_path, dry_run):
    pack(regular, tmp_path / "dual", PackOptions(layout="webdataset", checksum=True))
    with tars(tmp_path / "dual")[0].open("r+b") as file:
        file.seek(520)
        file.write(b"damaged")
    before = content(tmp_path / "dual")
    with pytest.raises(PackError, match="doesn't have the checksum.*nothing was changed"):
        relabel(tmp_path / "dual", layout="files", dry_run=dry_run)
    assert content(tmp_path / "dual") == before


@pytest.fixture
def with_remains(dual):
    """An image was removed, and a file beside its blob has it still; a label is stale."""
    (tar,) = (dual / "blob").glob("train*.tar")
    (dual / "blob" / "download.part").write_bytes(tar.read_bytes())
    (dual / "train" / "ann" / "plain.jpg.json").write_bytes(label("edited"))
    remove(dual, ["train/a.jpg"])
    return dual


REMAINS = "download.part: still has 'jpg/a.jpg', which was removed"


@pytest.mark.parametrize("end", ["refused", "interrupt", "no room", "after"])
def test_what_compacting_said_isnt_lost_when_relabelling_fails(with_remains, monkeypatch, capsys, end):
    wrong = {"refused": PackError("by order"), "interrupt": KeyboardInterrupt(), "no room": OSError(28, "No space")}

    def fail(*_):
        raise wrong.get(end, OSError(5, "breaks"))

    if end == "after":
        calls, say_left = [], ChangeReport.say_left
        second = lambda *given: fail() if calls.append(0) or len(calls) > 1 else say_left(*given)  # noqa: E731
        monkeypatch.setattr(ChangeReport, "say_left", second)
    else:
        monkeypatch.setattr(relabelling._Relabelling, "_write", fail)
    before = shown(with_remains)
    assert run(["compact", "--layout", "webdataset", str(with_remains)]) != 0
    said = capsys.readouterr().err
    assert said.count(REMAINS) == 1
    assert ("the change was made" in said) is (end == "after")
    assert ("blobs were compacted before that" in said) is (end != "after")
    assert shown(with_remains) == before
    assert (label("edited") in bytes_of_tars(with_remains)) is (end == "after")
    assert label("SECRET train a.jpg") not in bytes_of_tars(with_remains)


def test_nothing_is_said_to_be_done_where_nothing_was(dual, monkeypatch, capsys):
    before = content(dual)
    monkeypatch.setattr(relabelling._Relabelling, "_write", lambda *_: (_ for _ in ()).throw(PackError("by order")))
    assert run(["compact", "--layout", "files", str(dual)]) != 0
    said = capsys.readouterr().err
    assert "by order" in said
    assert "change was made" not in said
    assert "before that" not in said
    assert content(dual) == before


def test_what_is_said_of_blobs_is_of_those_that_there_are(with_remains):
    json_of = with_remains / "val" / "ann" / "q.z.jpg.json"
    json_of.unlink()
    report = relabel(with_remains)
    assert {problem.code for problem in report.problems} >= {"still-there", "label-kept"}
    assert all(
        (with_remains / one.path).exists() for one in report.problems if one.code in ("still-there", "label-kept")
    )
    assert all((with_remains / path).exists() for path in [*report.held, *report.blobs])
