"""Indexes beside shards, for wids and DALI: they say what the tars say, and go with them through every change."""

from __future__ import annotations

import io
import json
import tarfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlparse

import fsspec
import pytest
from PIL import Image

from blobdir import BlobImageInfo, ImageStore
from blobdir.cli.app import run
from blobdir.errors import BlobdirWarning, PackError, UsageError
from blobdir.moving import fetch, pack_to
from blobdir.packing import PackOptions, add, compact, create_project, merge, move, pack, relabel, remove, subset
from blobdir.packing.names import renewed_stem
from blobdir.packing.newfolder import NewFolder
from blobdir.packing.shardindexes import belongs
from blobdir.sources import LocalStorage
from blobdir.tarwriting import reading
from blobdir.verifying import verify

BOTH = PackOptions(layout="webdataset", shard_index=("wids", "dali"), shard_images=3)
NAMES = ("a.jpg", "a.png", "a.b.png", "IMG.2024.jpg", "b c.jpg", "ï.JPG", "q%2Ez.jpg", "none.jpg")


def picture(number: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 6), (number, number * 7 % 256, 3)).save(data, "PNG")
    return data.getvalue()


def label(text: str) -> bytes:
    return json.dumps({"description": text, "tags": [], "size": {"height": 6, "width": 8}, "objects": []}).encode()


@pytest.fixture
def regular(tmp_path: Path) -> Path:
    root = tmp_path / "regular"
    for d, dataset in enumerate(("train", "val")):
        for folder in ("img", "ann"):
            (root / dataset / folder).mkdir(parents=True)
        for i, name in enumerate((*NAMES, f"{dataset}.jpg")):
            (root / dataset / "img" / name).write_bytes(picture(100 * d + i))
            if name != "none.jpg":
                (root / dataset / "ann" / f"{name}.json").write_bytes(label(f"{dataset} {name}"))
    (root / "meta.json").write_text('{"classes": [], "tags": [], "projectType": "images"}')
    return root


@pytest.fixture
def project(regular: Path, tmp_path: Path) -> Path:
    assert pack(regular, tmp_path / "p", BOTH).complete
    return tmp_path / "p"


Members = list[tuple[str, int, bytes]]


def members(tar: Path) -> Members:
    """Name, first byte and bytes of all files, as Python's reader has them."""
    with tarfile.open(tar, errors="surrogateescape") as file:
        return [(one.name, one.offset_data, file.extractfile(one).read()) for one in file if one.isreg()]  # type: ignore[union-attr]


def by_dalis_rule(tar: Path) -> list[list[tuple[str, int, int, str]]]:
    """What DALI's `wds2idx` finds: bundles of members of one base name behind each other."""
    bundles: list[list[tuple[str, int, int, str]]] = []
    last = None
    for name, offset, data in members(tar):
        dot = name.find(".", name.rfind("/") + 1)
        if dot < 0:  # `wds2idx` cuts the last letter off here, and makes a sample of it
            continue
        base, extension = name[:dot], name[dot + 1 :]
        if not base or base.endswith("/"):
            continue
        if base != last:
            bundles.append([])
            last = base
        bundles[-1].append((extension, offset, len(data), name))
    return bundles


def as_dali_reads(index: Path) -> Iterator[list[tuple[str, int, int, str]]]:
    """Samples of an index as DALI reads it: words between blanks, four for each member."""
    first, *lines = index.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    version, count = first.split(" ")
    assert version == "v1.2" and lines.pop() == "" and len(lines) == int(count)
    for line in lines:
        words = line.split()
        assert len(words) % 4 == 0
        yield [(e, int(o), int(s), n) for e, o, s, n in zip(*(words[i::4] for i in range(4)), strict=True)]


def as_wids_counts(tar: Path) -> int:
    keys = [name[: name.find(".", name.rfind("/") + 1)] for name, *_ in members(tar) if "." in name]
    return sum(key != before for key, before in zip(keys, [None, *keys], strict=False))


def check(project: Path, kinds: tuple[str, ...] = ("wids", "dali")) -> None:
    """All indexes say what the tars say, none is of another, and `verify` is content."""
    tars = sorted((project / "blob").glob("*.tar"))
    assert sorted((project / "blob").glob("*.idx")) == [tar.with_suffix(".idx") for tar in tars if "dali" in kinds]
    for tar in tars if "dali" in kinds else ():
        said = [[(e, o, s, n.replace(" ", "%20")) for e, o, s, n in bundle] for bundle in by_dalis_rule(tar)]
        assert list(as_dali_reads(tar.with_suffix(".idx"))) == said
    listed = {}
    for index in (project / "blob").glob("*.wids.json"):
        content = json.loads(index.read_bytes())
        assert (content["__kind__"], content["wids_version"]) == ("wids-shard-index-v1", 1)
        for one in content["shardlist"]:
            assert one["url"].startswith(index.name.removesuffix(".wids.json"))
            assert one["url"] not in listed
            listed[one["url"]] = one["nsamples"], one["filesize"]
    own = [tar for tar in tars if not tar.name.startswith("added-")]  # of a transaction: of no dataset by its name
    sizes = {tar.name: (as_wids_counts(tar), tar.stat().st_size) for tar in own}
    assert listed == (sizes if "wids" in kinds else {})
    assert "shard-index-stale" not in {finding.code for finding in verify(project).findings}


@pytest.mark.parametrize("kinds", [("wids",), ("dali",), ("dali", "wids"), ()])
def test_written_beside_shards(regular: Path, tmp_path: Path, kinds: tuple[str, ...]) -> None:
    options = PackOptions(layout="webdataset", shard_index=kinds, shard_images=3)  # type: ignore[arg-type]
    pack(regular, tmp_path / "p", options)
    assert len(list((tmp_path / "p/blob").glob("*.tar"))) == 6
    check(tmp_path / "p", kinds)


def test_on_the_command_line(regular: Path, tmp_path: Path) -> None:
    assert run(["pack", str(regular), str(tmp_path / "p"), "--layout", "webdataset", "--shard-index", "wids,dali"]) == 0
    check(tmp_path / "p")
    assert run(["pack", str(regular), str(tmp_path / "q"), "--shard-index", "wids"]) == 2
    for wrong in ({"shard_index": ("wids",)}, {"shard_index": ("tf",), "layout": "webdataset"}):
        with pytest.raises(UsageError, match="shard_index"):
            PackOptions(**wrong)  # type: ignore[arg-type]


def edited(project: Path) -> None:
    fs = fsspec.filesystem("blobdir", fo=str(project), skip_instance_cache=True)
    with fs.transaction:
        fs.pipe_file("val/img/new.png", picture(201))


def merged(project: Path) -> None:
    other = project.parent / "other"
    source = project.parent / "other-regular" / "train"
    for folder in ("img", "ann"):
        (source / folder).mkdir(parents=True)
    (source / "img" / "x.png").write_bytes(picture(202))
    (source / "ann" / "x.png.json").write_bytes(label("x"))
    (source.parent / "meta.json").write_text('{"classes": [], "tags": [], "projectType": "images"}')
    pack(source.parent, other, BOTH)
    assert not [one for one in merge(project, other).problems if "blob" in one.path]


def added(project: Path) -> None:
    (project.parent / "n.png").write_bytes(picture(203))
    add(project, "train", [project.parent / "n.png"])


def compacted(project: Path) -> None:
    remove(project, ["train/a.jpg", "train/a.png", "train/a.b.png", "val/a.jpg"])
    compact(project)


def relabelled(project: Path) -> None:
    (project / "train" / "ann" / "a.jpg.json").write_bytes(label("another, longer one"))
    relabel(project)


CHANGES: dict[str, Callable[[Path], object]] = {
    "add": added,
    "remove": lambda project: remove(project, ["train/a.jpg"]),
    "move": lambda project: move(project, ["train/train.jpg"], "val"),
    "compact": compacted,
    "stale labels": relabelled,
    "without labels": lambda project: relabel(project, layout="files"),
    "merge": merged,
    "transaction": edited,
}


@pytest.mark.parametrize("kinds", [("wids",), ("wids", "dali"), ()])
@pytest.mark.parametrize("change", CHANGES)
def test_every_change_renews_them(project: Path, change: str, kinds: tuple[str, ...]) -> None:
    for pattern in [p for p, kind in (("*.idx", "dali"), ("*.wids.json", "wids")) if kind not in kinds]:
        for path in (project / "blob").glob(pattern):
            path.unlink()
    before = {path.name for path in (project / "blob").glob("*.tar")}
    CHANGES[change](project)
    assert ({path.name for path in (project / "blob").glob("*.tar")} != before) is (change not in ("remove", "move"))
    check(project, kinds)


def test_the_last_tar_takes_its_index_along(project: Path) -> None:
    remove(project, [f"val/{name}" for name in (*NAMES, "val.jpg")])
    compact(project)
    check(project)
    assert not (project / "blob" / "val.wids.json").exists()


def test_what_only_is_called_like_an_index_stays(project: Path) -> None:
    notes = {"train.wids.json": b"not one", "notes.idx": b"mine"}
    (tar,) = (path for path in (project / "blob").glob("train-0000-*.tar"))
    notes[tar.with_suffix(".idx").name] = b"an index of something else"
    for name, data in notes.items():
        (project / "blob" / name).write_bytes(data)
    relabelled(project)
    assert not tar.exists()
    assert {name: (project / "blob" / name).read_bytes() for name in notes} == notes


def test_what_others_have_written_into_it_stays(project: Path) -> None:
    path = project / "blob" / "train.wids.json"
    content = json.loads(path.read_bytes())
    content |= {"info": "mine", "shardlist": [*content["shardlist"], {"url": "https://host/x.tar", "nsamples": 3}]}
    path.write_text(json.dumps(content))
    relabelled(project)
    after = json.loads(path.read_bytes())
    assert after["info"] == "mine" and {"url": "https://host/x.tar", "nsamples": 3} in after["shardlist"]


def over_all(blob: Path) -> None:
    """An index by hand, of all tars."""
    (blob / "train.wids.json").rename(blob / "all.wids.json")
    content = json.loads((blob / "all.wids.json").read_bytes())
    content["shardlist"] += json.loads((blob / "val.wids.json").read_bytes())["shardlist"]
    (blob / "all.wids.json").write_text(json.dumps(content | {"name": "all"}))


def of_a_part(blob: Path) -> None:
    content = json.loads((blob / "train.wids.json").read_bytes())
    del content["shardlist"][1]
    (blob / "train.wids.json").write_text(json.dumps(content))


def of_another_name(blob: Path) -> None:
    content = json.loads((blob / "train.wids.json").read_bytes())
    (blob / "train.wids.json").write_text(json.dumps(content | {"name": "mine"}))


def with_another(blob: Path) -> None:
    content = json.loads((blob / "train.wids.json").read_bytes())
    content["shardlist"] += json.loads((blob / "val.wids.json").read_bytes())["shardlist"]
    (blob / "train.wids.json").write_text(json.dumps(content))


def linked(blob: Path) -> None:
    (blob / "train.wids.json").rename(blob.parent / "kept.json")
    (blob / "train.wids.json").symlink_to("../kept.json")


def linked_out(blob: Path) -> None:
    (blob / "train.wids.json").rename(blob.parent.parent / "kept.json")
    (blob / "train.wids.json").symlink_to("../../kept.json")


def dali_linked(blob: Path) -> None:
    for number, path in enumerate(sorted(blob.glob("train-*.idx"))):
        path.rename(blob.parent / f"kept-{number}")
        path.symlink_to(f"../kept-{number}")


@pytest.mark.parametrize("change", [compacted, relabelled])
@pytest.mark.parametrize(
    "by_hand", [over_all, of_a_part, of_another_name, with_another, linked, linked_out, dali_linked]
)
def test_what_isnt_certainly_ours_stays_and_is_named(
    project: Path, by_hand: Callable[[Path], None], change: Callable[[Path], None]
) -> None:
    blob = project / "blob"
    by_hand(blob)
    (name,) = {path.name for path in blob.glob("[at]*.wids.json")}
    names = sorted(path.name for path in blob.glob("train-*.idx")) if by_hand is dali_linked else [name]
    before = {one: (blob / one).read_bytes() for one in names}
    tars = {path.name for path in blob.glob("train-*.tar")}
    remove(project, ["train/a.jpg"])
    if change is relabelled:
        (project / "train" / "ann" / "a.png.json").write_bytes(label("another, longer one"))
    report = compact(project) if change is compacted else relabel(project)
    gone = tars - {path.name for path in blob.glob("train-*.tar")}
    said = [problem.path for problem in report.problems if problem.code == "shard-index-stale"]
    assert gone
    assert {one: (blob / one).read_bytes() for one in names} == before
    assert said
    assert len(set(said)) == len(said)
    assert {path.rpartition("/")[2] for path in said} <= set(names)
    found = {finding.path for finding in verify(project).findings}
    assert set(said) <= found


def emptied(project: Path) -> None:
    remove(project, [f"train/{name}" for name in (*NAMES, "train.jpg")])
    compact(project)
    assert not (project / "blob" / "train.wids.json").exists()


@pytest.mark.parametrize("name", ["train", "fresh"])
@pytest.mark.parametrize("kinds", [("wids",), ("wids", "dali"), ("dali",), ()])
def test_the_first_tar_of_a_dataset_gets_them(project: Path, kinds: tuple[str, ...], name: str) -> None:
    for pattern in [p for p, kind in (("*.idx", "dali"), ("*.wids.json", "wids")) if kind not in kinds]:
        for path in (project / "blob").glob(pattern):
            path.unlink()
    emptied(project)
    (project.parent / "n.png").write_bytes(picture(203))
    add(project, name, [project.parent / "n.png"])
    check(project, kinds)
    assert (project / "blob" / f"{name}.wids.json").exists() is ("wids" in kinds)


def test_so_do_those_that_are_merged(project: Path) -> None:
    (project.parent / "n.png").write_bytes(picture(203))
    create_project(project.parent / "other")
    add(project.parent / "other", "fresh/datasets/hard", [project.parent / "n.png"])
    merge(project, project.parent / "other")
    check(project)
    assert (project / "blob" / "fresh-hard.wids.json").exists()


def test_one_that_was_deleted_doesnt_come_back(project: Path) -> None:
    (project / "blob" / "train.wids.json").unlink()
    added(project)
    relabelled(project)
    assert not (project / "blob" / "train.wids.json").exists()
    assert (project / "blob" / "val.wids.json").exists()


def test_a_failed_change_leaves_them(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in (project / "blob").iterdir()}
    monkeypatch.setattr("blobdir.packing.publishing.Change.commit", lambda _: (_ for _ in ()).throw(PackError("no")))
    with pytest.raises(PackError, match="no"):
        added(project)
    assert {path.name: path.read_bytes() for path in (project / "blob").iterdir()} == before


@pytest.mark.parametrize("fault", ["label by hand", "size", "samples", "not named", "of no tar", "named, no tar"])
def test_stale_ones_are_said(project: Path, fault: str) -> None:
    index, blob = project / "blob" / "train.wids.json", project / "blob"
    content = json.loads(index.read_bytes())
    first = content["shardlist"][0]
    tar = blob / first["url"]
    if fault == "label by hand":
        tar.with_suffix(".idx").write_bytes(tar.with_suffix(".idx").read_bytes().replace(b"json", b"jsom"))
    elif fault in ("size", "samples"):
        first["filesize" if fault == "size" else "nsamples"] += 1
    elif fault == "not named":
        content["shardlist"].pop()
    elif fault == "of no tar":
        (blob / "gone-0000-01234567.idx").write_bytes(b"v1.2 0\n")
    else:
        first["url"] = "train-0009-01234567.tar"
    index.write_text(json.dumps(content))
    found = [finding for finding in verify(project).findings if finding.code == "shard-index-stale"]
    assert len(found) == 1 and found[0].severity == "warning"


@pytest.mark.parametrize("first", [BOTH, PackOptions(layout="webdataset", shard_images=3)])
def test_resumed(regular: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: PackOptions) -> None:
    monkeypatch.setattr(reading, "TICK_NS", -(10**10))  # what was just written counts as old
    with monkeypatch.context() as patch:
        patch.setattr(NewFolder, "publish", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            pack(regular, tmp_path / "p", first)
    assert pack(regular, tmp_path / "p", BOTH, resume=True).resumed == (6 if first is BOTH else 0)
    check(tmp_path / "p")
    again = tmp_path / "again"
    pack(regular, again, BOTH)
    for path in (again / "blob").iterdir():
        assert (tmp_path / "p/blob" / path.name).read_bytes() == path.read_bytes()


def test_packed_to_a_bucket_and_fetched(regular: Path, tmp_path: Path) -> None:
    pack_to(regular, "memory://shard-indexes/p", BOTH)
    fetch("memory://shard-indexes/p", tmp_path / "back")
    check(tmp_path / "back")


def test_a_subset_has_none(project: Path, tmp_path: Path) -> None:
    subset(project, tmp_path / "s")
    check(tmp_path / "s", ())


# -- names, and what is damaged ------------------------------------------------------------------------------


def stale(project: Path) -> dict[str, str]:
    found = [finding for finding in verify(project).findings if finding.code == "shard-index-stale"]
    assert all(finding.severity == "warning" for finding in found)
    assert len({finding.path for finding in found}) == len(found)
    return {finding.path: "; ".join(finding.examples) for finding in found}


@pytest.mark.parametrize("dataset", ["a#b", "a?b", "a;b", "a%20b", "a%23b", " a b", "x:y", "pipe:x", "é", "a&b=c[d"])
def test_wids_finds_tars_of_all_names(regular: Path, tmp_path: Path, dataset: str) -> None:
    (regular / "train").rename(regular / dataset)
    pack(regular, tmp_path / "p", BOTH)
    for index in (tmp_path / "p" / "blob").glob("*.wids.json"):
        for path in [str(index), *(one["url"] for one in json.loads(index.read_bytes())["shardlist"])]:
            parts = urlparse(path)  # what wids opens: the path of it, and of the two joined
            assert not parts.scheme and parts.path == path and path[0] > " "
            assert (index.parent / parts.path).is_file()
    assert not stale(tmp_path / "p")
    shared = sorted((tmp_path / "p" / "blob").glob("*.tar"))
    assert len(shared) == 6


def test_names_that_wids_cannot_open_are_said(project: Path) -> None:
    blob, index = project / "blob", project / "blob" / "train.wids.json"
    name = json.loads(index.read_bytes())["shardlist"][0]["url"]
    new = name.replace("train", "tr#in")
    for path in (*blob.glob(f"{name[:-4]}.*"), *(project / "train").glob(f"{name[:-4]}_offsets.pkl")):
        path.rename(path.parent / path.name.replace(name[:-4], new[:-4]))
    index.write_text(index.read_text().replace(name, new))
    assert "wids can't open" in stale(project)["blob/train.wids.json"]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "a byte": lambda data: data[:1],
    "cut off": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
    "zeros at the end": lambda data: data[:-9] + bytes(9),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_ones_are_said_and_renewed(project: Path, damage: str) -> None:
    (project / "blob" / "val.wids.json").unlink()
    damaged = [*(project / "blob").glob("train-*.idx"), project / "blob" / "train.wids.json"]
    for path in damaged:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    assert stale(project).keys() == {f"blob/{path.name}" for path in damaged}
    for path in (project / "train" / "ann").iterdir():
        path.write_bytes(label(f"longer, and another {path.name}"))
    relabel(project)
    assert len(json.loads((project / "blob" / "train.wids.json").read_bytes())["shardlist"]) == 3
    assert not stale(project)


def test_a_damaged_one_is_renewed_of_all_its_tars(project: Path) -> None:
    index = project / "blob" / "train.wids.json"
    index.write_bytes(index.read_bytes()[:100])
    relabelled(project)
    check(project)


def test_a_tar_named_twice_is_said_and_renewed(project: Path) -> None:
    index = project / "blob" / "train.wids.json"
    content = json.loads(index.read_bytes())
    index.write_text(json.dumps(content | {"shardlist": content["shardlist"] * 2}))
    assert stale(project)["blob/train.wids.json"].count("names train-") == 3
    relabelled(project)
    check(project)


def test_foreign_ones_beside_tars_are_said_and_stay(project: Path) -> None:
    index = next((project / "blob").glob("train-0000-*.idx"))
    foreign = {
        "train.wids.json": b'{"mine": 1}',
        index.name: b"0 512\n512 1024\n",
        "notes.idx": b"",
        "x.wids.json": b"x",
    }
    for name, data in foreign.items():
        (project / "blob" / name).write_bytes(data)
    (project / "blob" / "val.wids.json").write_bytes(b'{"wids_version": 1, "datasets": []}')  # wids opens it
    assert stale(project).keys() == {"blob/train.wids.json", f"blob/{index.name}"}
    relabelled(project)
    assert {name: (project / "blob" / name).read_bytes() for name in foreign} == foreign


@pytest.mark.parametrize("target", ["outside", "nowhere", "inside"])
@pytest.mark.parametrize("name", ["train.wids.json", "train-0000"])
def test_a_link_is_one_finding_and_changes_say_that_it_stays(project: Path, target: str, name: str) -> None:
    (index,) = [path for path in (project / "blob").iterdir() if path.name.startswith(name) and path.suffix != ".tar"]
    to = {"outside": project.parent / "i", "nowhere": project / "none", "inside": project / "i"}[target]
    data = index.read_bytes()
    index.unlink()
    if target != "nowhere":
        to.write_bytes(data)
    index.symlink_to(to)
    path = f"blob/{index.name}"
    codes = {"outside": "link-outside", "nowhere": "link-dangling"}
    found = [one.code for one in verify(project).findings if one.path == path and one.severity != "note"]
    assert [code for code in found if code != "not-checked"] == ([codes[target]] if target in codes else [])
    (project / "train" / "ann" / "a.jpg.json").write_bytes(label("another, longer one"))
    (project / "train" / "ann" / "a.png.json").write_bytes(label("another, longer one, too"))
    said = [one.path for one in relabel(project).problems if one.code == "shard-index-stale"]
    assert said == [path]
    assert index.is_symlink()


def test_kept_files_are_named_as_the_new_tar_has_them(tmp_path: Path) -> None:
    project = tmp_path / "p"
    (project / "blob").mkdir(parents=True)
    (project / "train").mkdir()
    (project / "meta.json").write_text('{"classes": [], "tags": [], "projectType": "images"}')
    image, start = picture(1), 512
    with tarfile.open(project / "blob" / "b.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in (("c%25d.jpg", image), ("c%25d.cls", b"7")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    entry = BlobImageInfo(name="c%25d.jpg", offset_start=start, offset_end=start + len(image))
    BlobImageInfo.dump_to_pickle([entry], project / "train" / "b_offsets.pkl")
    report = relabel(project)
    (path,) = (project / "blob").glob("*.tar")
    (kept,) = (name for name, *_ in members(path) if name.endswith(".cls"))
    assert kept == "c%2525d.cls"
    (problem,) = (one for one in report.problems if one.code == "hidden")
    assert f"'{kept}'" in problem.message and "'c%25d.cls'" not in problem.message


@pytest.mark.parametrize("who", ["transaction", "store"])
def test_who_has_no_report_warns_of_indexes_that_stay(project: Path, who: str) -> None:
    """One of somebody's own, called for the tars that a transaction or a store brings, and naming others."""

    def commit(number: int) -> None:
        if who == "transaction":
            fs = fsspec.filesystem("blobdir", fo=str(project), skip_instance_cache=True)
            with fs.transaction:
                fs.pipe_file(f"val/img/new{number}.png", picture(number))
        else:
            with ImageStore(project.parent / "store") as store:
                store[f"{number}.png"] = picture(number)

    if who == "store":
        commit(1)
    blob = project / "blob" if who == "transaction" else project.parent / "store" / "blob"
    slug = "added" if who == "transaction" else next(blob.glob("*.tar")).name.split("-")[0]
    content = {"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": slug, "shardlist": []}
    tars = sorted(path.name for path in blob.glob("*.tar"))
    content["shardlist"] = [{"url": tar, "nsamples": 1} for tar in (*tars, "another.tar")]
    (blob / f"{slug}.wids.json").write_text(json.dumps(content))
    before = (blob / f"{slug}.wids.json").read_bytes()
    with pytest.warns(BlobdirWarning, match=rf"blob/{slug}\.wids\.json: "):
        commit(2)
    assert (blob / f"{slug}.wids.json").read_bytes() == before


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("layout", ["files", "webdataset"])
def test_a_shard_that_a_link_leads_to_stays_as_it_is(project: Path, layout: str, dry_run: bool) -> None:
    """As for `compact`, also if the link was there long before."""
    for path in (project / "train/ann").iterdir():
        path.write_bytes(label("another, longer one"))
    blob = next((project / "blob").glob("train-*.tar"))
    (project / "latest").symlink_to(f"blob/{blob.name}")
    before = blob.read_bytes()
    report = relabel(project, layout=layout, dry_run=dry_run)  # type: ignore[arg-type]
    assert [one.path for one in report.problems if one.code == "link"] == ["latest"]
    assert blob.read_bytes() == before and (project / "latest").exists()
    others = {path.name for path in (project / "blob").glob("train-*.tar")} - {blob.name}
    assert others and not [one for one in verify(project).findings if one.severity == "error"]


@pytest.mark.parametrize("name", ["x.wids.json", "train.wids.json", "{tar}.idx"])
@pytest.mark.parametrize("change", ["add", "compact", "transaction"])
def test_an_index_that_cannot_be_read_keeps_no_change_from_being_made(
    project: Path, monkeypatch: pytest.MonkeyPatch, change: str, name: str
) -> None:
    name = name.format(tar=next((project / "blob").glob("train-*.tar")).stem)
    (project / "blob" / name).touch()
    real = LocalStorage.read

    def read(storage: LocalStorage, path: str) -> bytes:
        if path == f"blob/{name}":
            raise PermissionError(13, "Permission denied", path)
        return real(storage, path)

    monkeypatch.setattr(LocalStorage, "read", read)
    tars = {path.name for path in (project / "blob").glob("*.tar")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        CHANGES[change](project)
    assert {path.name for path in (project / "blob").glob("*.tar")} != tars
    assert (project / "blob" / name).exists()


@pytest.mark.parametrize("stem", ["train-0000-9467fc19", "train-0000-9467fc19-1", "train-0000-9467fc19-12"])
def test_a_tar_that_is_renewed_stays_one_of_its_dataset(stem: str) -> None:
    taken: set[str] = set()
    for digest in ("a" * 64, "a" * 64, "b" * 64):
        stem = renewed_stem(stem, digest, taken)
        taken.add(stem.casefold())
        assert belongs(f"{stem}.tar", "train")
        assert stem.startswith("train-0000-") and len(stem) <= len("train-0000-9467fc19-1")
