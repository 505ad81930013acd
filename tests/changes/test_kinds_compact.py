"""Bytes that `compact` may not take: those that somebody needs in a way that is easily overlooked."""

from __future__ import annotations

import tarfile

import pytest
from changes.commands import TOUCHING, transaction
from changes.looking import differences, faults, get, shown
from changes.samples import annotation, entries, files_below, files_of, numbered, packed, pickles, picture, tars, write
from tarscan_cases import member, pax, with_checksum

from blobdir.cli.app import run
from blobdir.errors import BlobdirError, BlobdirWarning
from blobdir.moving import push
from blobdir.offsets import save_blob_offsets_pkl, write_offsets
from blobdir.packing import SubsetOptions, add, add_blob_file, compact, create_project, merge, remove, subset
from blobdir.verifying import repair, verify

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


# -- names with folders in them --------------------------------------------------------------------------------


def test_folders_in_names(tmp_path):
    """Members of one base name are told apart; one that another dataset calls without its folders is there once."""
    root = tmp_path / "p"
    write(root / "meta.json", b'{"classes": [], "tags": [], "projectType": "images"}')
    members = ["s1/a.png", "s2/a.png", "deep/er/a.png", "top.png", "gone.png"]
    (root / "blob").mkdir()
    with tarfile.open(root / "blob/x.tar", "w") as tar:
        for name in members:
            tar.add(write(tmp_path / "new" / name, picture(name)), name)
    with tarfile.open(root / "blob/x.tar") as tar:
        at = {member.name: (member.offset_data, member.offset_data + member.size) for member in tar.getmembers()}
    for dataset, named in (("train", {name: name for name in members}), ("test", {"a.png": "s2/a.png"})):
        (root / dataset / "ann").mkdir(parents=True)
        write_offsets(root / dataset / "x_offsets.pkl", [(name, *at[member]) for name, member in named.items()])
        for name in named:
            write(root / f"{dataset}/ann/{name}.json", annotation(name))
    assert faults(root) == []
    remove(root, ["train/gone.png"])
    model = shown(root)
    assert compact(root).freed > 0
    assert differences(shown(root), model) == []
    assert faults(root) == []
    (blob,) = tars(root)
    with tarfile.open(blob) as tar:
        assert sorted(tar.getnames()) == sorted(members[:4])


@pytest.mark.parametrize("length", [20, 99, 100, 101, 180, 250])
def test_what_has_nothing_unused_is_left_alone(tmp_path, length):
    """Headers of long names take more room; that isn't unused."""
    images = {f"train/{i:03d}{'x' * (length - 7)}.png": picture(i) for i in range(60)}
    root = packed(tmp_path / "p", images, shard_images=60)
    before = tars(root)
    assert compact(root).removed == []
    assert tars(root) == before
    remove(root, list(images)[:40])
    assert compact(root).freed > 0
    after = tars(root)
    assert compact(root).freed == 0
    assert tars(root) == after


# -- several names of one range -------------------------------------------------------------------------------


@pytest.fixture
def linked(tmp_path):
    """A project whose tar has hard links, as GNU tar makes them."""
    root = tmp_path / "p"
    write(root / "meta.json", b'{"classes": [], "tags": [], "projectType": "images"}')
    (root / "blob").mkdir()
    (root / "train").mkdir()
    with tarfile.open(root / "blob/x.tar", "w") as tar:
        for name in ("a.png", "gone.png", "b.png"):
            path = write(tmp_path / "new" / name, picture(name))
            tar.add(path, name)
        for name, target in (("first.png", "a.png"), ("z.png", "b.png"), ("y.png", "b.png"), ("sub/f.png", "b.png")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.LNKTYPE, target
            tar.addfile(info)
    save_blob_offsets_pkl(str(root / "blob/x.tar"), str(root / "train"))
    for name in ("a", "gone", "b", "first", "z", "y", "f"):
        write(root / f"train/ann/{name}.png.json", annotation(name))
    assert faults(root) == []
    return root


GOING = {
    "nothing but bytes": ["gone.png"], "a link": ["gone.png", "first.png"], "the file": ["gone.png", "a.png"],
    "all but one": ["gone.png", "b.png", "z.png", "f.png"], "all": ["gone.png", "a.png", "first.png"],
}  # fmt: skip


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("going", GOING)
def test_hard_links(linked, going, dry_run):
    model = shown(linked)
    remove(linked, [f"train/{name}" for name in GOING[going]])
    for name in GOING[going]:
        del model[f"train/img/{name}"], model[f"train/ann/{name}.json"]
    said = compact(linked, dry_run=True)
    if not dry_run:
        done = compact(linked)
        assert (done.freed, done.images) == (said.freed, said.images)
        assert picture("gone.png") not in b"".join(tar.read_bytes() for tar in tars(linked))
    assert differences(shown(linked), model) == []
    assert faults(linked) == []
    assert [f.code for f in verify(linked, decode=True, processes=1).findings if f.severity == "error"] == []


# -- offsets files without a byte -----------------------------------------------------------------------------

REFUSING = {
    **{f"{name} (touching)": lambda root, base, do=do: do(root, "train/img/a001.png") for name, do in TOUCHING.items()},
    "compact": lambda root, base: compact(root),
    "compact --unreferenced": lambda root, base: compact(root, unreferenced=True),
    "add": lambda root, base: add(root, "train", [write(base / "new/n.png", picture("n"))]),
    "merge": lambda root, base: merge(packed(base / "q", numbered(2, 50, "val")), root),
    "merge into": lambda root, base: merge(root, packed(base / "q", numbered(2, 50, "train"))),
    "subset": lambda root, base: subset(root, base / "s", SubsetOptions(patterns=["*"])),
    "push": lambda root, base: push(root, f"memory://{base.name}"),
    "a transaction": lambda root, base: transaction(root, lambda fs: fs.pipe("train/img/n.png", picture("n"))),
}


@pytest.mark.parametrize("what", ["images", "annotations"])
@pytest.mark.parametrize("command", REFUSING)
def test_an_offsets_file_without_a_byte(tmp_path, command, what):
    """What a full disk leaves of it: its images aren't gone, and nobody may take them for gone."""
    root = packed(tmp_path / "p", files_of(numbered(4)), annotations="packed", shard_images=10)
    (pickle,) = [
        path for path in pickles(root, what == "annotations") if ("ann.blob" in str(path)) == (what != "images")
    ]
    pickle.write_bytes(b"")
    before = files_below(root)
    folder = "train/img" if what == "images" else "train/ann"
    assert isinstance(get(root, f"{folder}/{'a001.png' if what == 'images' else 'a001.png.json'}"), BlobdirError)
    assert "offsets-truncated" in [code for code, _, _ in faults(root)]
    with pytest.raises(BlobdirError, match=r"has no bytes at all"):
        REFUSING[command](root, tmp_path)
    assert files_below(root) == before


def test_an_offsets_file_of_an_empty_tar(tmp_path):
    """The SDK writes one without a byte for a tar without members."""
    root = packed(tmp_path / "p", files_of(numbered(4)))
    with tarfile.open(root / "blob/empty.tar", "w"):
        pass
    (root / "train/empty_offsets.pkl").write_bytes(b"")
    model = shown(root)
    assert faults(root) == []
    remove(root, ["train/a001.png"])
    compact(root)
    del model["train/img/a001.png"], model["train/ann/a001.png.json"]
    assert differences(shown(root), model) == []


def test_an_offsets_file_without_a_byte_is_mended(tmp_path):
    root = packed(tmp_path / "p", files_of(numbered(4)))
    model = shown(root)
    for pickle in pickles(root):
        pickle.write_bytes(b"")
    repair(root, verify(root, processes=1))
    assert differences({path: data for path, data in shown(root).items() if ".backup-" not in path}, model) == []
    assert faults(root) == []


# -- offsets files where nobody looks --------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["blob", "", "train/datasets", "train/ann", "train/img", "train/meta"])
@pytest.mark.parametrize("unreferenced", [False, True])
def test_offsets_files_where_nobody_looks(tmp_path, place, unreferenced):
    root = packed(tmp_path / "p", files_of(numbered(4)), shard_images=10)
    (pickle,) = pickles(root)
    all_of_it = entries(pickle)
    write_offsets(pickle, all_of_it[:2])
    (root / place).mkdir(parents=True, exist_ok=True)
    write_offsets(root / place / pickle.name, all_of_it[2:])
    before = files_below(root)
    with pytest.raises(BlobdirError, match=pickle.name):
        compact(root, unreferenced=unreferenced)
    with pytest.raises(BlobdirError, match=pickle.name):
        compact(root, unreferenced=unreferenced, dry_run=True)
    assert files_below(root) == before
    path = f"{place}/{pickle.name}".lstrip("/")
    assert ("offsets-misplaced", path) in [(f.code, f.path) for f in verify(root, processes=1).findings]


def test_where_offsets_are_put_by_default(tmp_path):
    root = packed(tmp_path / "p", files_of(numbered(4)), shard_images=10)
    (tar,) = tars(root)
    (pickle,) = pickles(root)
    pickle.unlink()
    assert run(["offsets", "-q", str(tar)]) == 0
    with pytest.raises(BlobdirError, match=pickle.name):
        compact(root, unreferenced=True)
    assert tar.exists()


# -- blobs that were emptied -----------------------------------------------------------------------------------


@pytest.mark.parametrize("meanwhile", ["remove", "add", "compact", "nothing"])
def test_an_emptied_blob_that_is_away_for_a_while(tmp_path, meanwhile):
    """A disk that isn't there, say. What was removed goes with the first `compact` after it has come back."""
    root = packed(tmp_path / "p", files_of(numbered(4) | numbered(2, 30, "val")), shard_images=10)
    gone = shown(root)["val/img/a030.png"]
    blob = next(tar for tar in tars(root) if gone in tar.read_bytes())
    remove(root, ["val/a030.png", "val/a031.png"])
    blob.rename(tmp_path / "away")
    {
        "remove": lambda: remove(root, ["train/a001.png"]),
        "add": lambda: add(root, "train", [write(tmp_path / "new/n.png", picture("n"))]),
        "compact": lambda: compact(root),
        "nothing": lambda: None,
    }[meanwhile]()
    (tmp_path / "away").rename(blob)
    compact(root)
    assert not any(gone in tar.read_bytes() for tar in tars(root))


def test_another_tar_at_the_place_of_an_emptied_one_stays(tmp_path):
    root = packed(tmp_path / "p", files_of(numbered(4) | numbered(2, 30, "val")), shard_images=10)
    gone = shown(root)["val/img/a030.png"]
    blob = next(tar for tar in tars(root) if gone in tar.read_bytes())
    remove(root, ["val/a030.png", "val/a031.png"])
    blob.write_bytes(tars(root)[0].read_bytes())
    remove(root, ["train/a001.png"])
    compact(root)
    assert blob.exists()


# -- tars with more in them than members ----------------------------------------------------------------------

MORE = {
    "sparse": lambda tar, more: tar[:-1024] + pax((b"GNU.sparse.map", b"0,4")) + more + tar[-1024:],
    "another volume's": lambda tar, more: tar[:-1024] + put_kind(more, b"M") + tar[-1024:],
    "another archive": lambda tar, more: tar + more + tar[-1024:],
}


def put_kind(block, kind):
    return with_checksum(block[:156] + kind + block[157:512]) + block[512:]


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("what", MORE)
def test_a_tar_with_what_no_member_has_is_left_alone(tmp_path, what, dry_run):
    """What can't be shown is the user's all the same: a new tar wouldn't have it."""
    root = packed(tmp_path / "p", {f"train/{i}.png": picture(str(i)) for i in range(3)})
    (tar,) = tars(root)
    data = tar.read_bytes()
    data = data[: len(data.rstrip(b"\0")) + 511 & -512] + bytes(1024)
    tar.write_bytes(MORE[what](data, member(b"more.png", b"data")))
    (root / "blob/SHA256SUMS").unlink()
    remove(root, ["train/1.png"])
    before = files_below(root)
    with pytest.raises(BlobdirError, match=r"more\.png.*nothing was changed"):
        compact(root, dry_run=dry_run)
    assert files_below(root) == before


def test_what_goes_with_an_image_stays_with_it(tmp_path):
    """A WebDataset shard: its texts are no images, verify misses none, and those of removed images go with them."""
    shard = tmp_path / "shard.tar"
    texts = {f"{i:03d}.json": b'{"caption": "%d"}' % i for i in range(4)}
    shard.write_bytes(
        b"".join(
            member(f"s/{name[:3]}.jpg".encode(), picture(name)) + member(f"s/{name}".encode(), text)
            for name, text in texts.items()
        )
        + bytes(1024)
    )
    create_project(tmp_path / "p")
    with pytest.warns(BlobdirWarning, match="4 files that go with images"):
        add_blob_file(tmp_path / "p", shard, "train")
    assert "member-unreferenced" not in {finding.code for finding in verify(tmp_path / "p", processes=1).findings}
    assert compact(tmp_path / "p").blobs == []
    remove(tmp_path / "p", ["train/001.jpg"])
    said = compact(tmp_path / "p", dry_run=True)
    done = compact(tmp_path / "p")
    assert (done.freed, done.images) == (said.freed, said.images) == (done.freed, 3)
    (tar,) = tars(tmp_path / "p")
    with tarfile.open(tar) as archive:
        found = {info.name: archive.extractfile(info).read() for info in archive}
    del texts["001.json"]
    left = {name: data for name, data in found.items() if name.endswith(".json")}
    assert left == {f"s/{name}": text for name, text in texts.items()} and len(found) == 6


FOLDERS = {
    "two folders": (b"s/", b"t/"), "a folder in the other": (b"s/", b"s/t/"), "none and one": (b"", b"t/"),
    "dot": (b"./s/", b"t/"),
}  # fmt: skip
BESIDE = {
    "text": b"%sa.json", "texts": b"%sa.seg.txt", "AppleDouble": b"%s._a.png", "in __MACOSX": b"__MACOSX/%s._a.png",
}  # fmt: skip
ENTRIES = {
    "two datasets": [("train", "a.png", 0), ("val", "a.png", 1)],
    "full names": [("train", None, 0), ("train", None, 1)],
    "one of them in full": [("train", "a.png", 0), ("val", None, 1)],
    "numbered": [("train", "a.png", 0), ("train", "a_1.png", 1)],
}


def unfit(root):
    return [fault for fault in faults(root) if "annotation" not in fault[0]]


@pytest.mark.parametrize("going", [0, 1])
@pytest.mark.parametrize("entries_of", ENTRIES)
@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("folders", FOLDERS)
def test_what_goes_with_an_image_of_a_name_that_others_have(tmp_path, folders, beside, entries_of, going):
    """What is of one of them goes with that one, also when the tar has been written anew before."""
    names = [folder + b"a.png" for folder in FOLDERS[folders]]
    texts = {BESIDE[beside] % folder: b"text of %d" % i for i, folder in enumerate(FOLDERS[folders])}
    first = b"".join(member(name, picture(name)) for name in (b"gone.png", *names))
    root = write(tmp_path / "p/meta.json", b'{"classes": [], "tags": [], "projectType": "images"}').parent
    tar = write(root / "blob/x.tar", first + b"".join(member(name, text) for name, text in texts.items()) + bytes(1024))
    with tarfile.open(tar) as archive:
        at = {info.name.encode(): (info.offset_data, info.offset_data + info.size) for info in archive}
    of: dict[str, list] = {"other": [("gone.png", *at[b"gone.png"])]}
    for dataset, name, number in ENTRIES[entries_of]:
        full = names[number].removeprefix(b"./")
        of.setdefault(dataset, []).append((name or full.decode(), *at[names[number]]))
    for dataset, found in of.items():
        (root / dataset / "ann").mkdir(parents=True)
        write_offsets(root / dataset / "x_offsets.pkl", found)
    assert unfit(root) == []
    remove(root, ["other/gone.png"])
    model = shown(root)
    assert compact(root).dropped == 1
    assert differences(shown(root), model) == []
    assert unfit(root) == []
    assert compact(root).blobs == []
    dataset, name, _ = ENTRIES[entries_of][going]
    path = f"{dataset}/img/{name or names[going].removeprefix(b'./').decode()}"
    remove(root, [path])
    assert compact(root).dropped == 2
    del model[path]
    assert differences(shown(root), model) == []
    left = b"".join(tar.read_bytes() for tar in tars(root))
    assert [text in left for text in texts.values()] == [number != going for number in range(2)]


@pytest.mark.parametrize("how", ["mv", "mv, and another one goes"])
def test_compact_says_of_what_moved_nothing_untrue(tmp_path, how, capsys):
    """In a transaction an image that moves is copied to the new blob, so its bytes are there."""
    root = packed(tmp_path / "p", files_of({f"train/{name}.png": picture(name) for name in "abc"}))

    def change(fs):
        fs.mv("train/img/a.png", "val/img/a.png")
        if how != "mv":
            fs.rm("train/img/b.png")

    transaction(root, change)
    assert run(["compact", str(root)]) == 0
    said = capsys.readouterr().out
    assert ("1 member dropped, of which no tar" in said) == (how != "mv") and "2 members" not in said
    assert shown(root)["val/img/a.png"] == picture("a")
