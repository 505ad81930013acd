"""Each kind of fault of losing what entries of an offsets file have beside name and range, ``team_file_id`` say."""

from __future__ import annotations

import shutil

import pytest
from changes.commands import TOUCHING, transaction
from changes.looking import faults, shown
from changes.samples import files_below, numbered, packed, pickles, picture_of, tars, write
from sdk_stand_in import StandIn

from blobdir.errors import PackError
from blobdir.packing import SubsetOptions, add, compact, merge, move, remove, subset
from blobdir.verifying import repair, verify

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
SDK = StandIn()

NAMES = [f"a{i:03d}.png" for i in range(1, 9)]
ATTRIBUTES = {
    "as an upload leaves them": lambda i: {"team_file_id": 7000},
    "none yet": lambda i: {"team_file_id": None},
    "some have them": lambda i: {"team_file_id": i} if i % 2 else {},
    "of a newer SDK": lambda i: {
        "crc": 2**70 + i,
        "place": (1.5, -i),
        "more": {"é": ["x", b"\0", None, True]},
        "t": "",
    },
}


def deep(levels):
    return [deep(levels - 1)] if levels else 1


def cyclic():
    found = []
    found.append(found)
    return found


def wide(levels):
    found = "x"
    for _ in range(levels):
        found = [found, found]
    return found


ODD = {
    "a set": lambda: {1, 2},
    "bytes that change": lambda: bytearray(b"x"),
    "an object": lambda: SDK.Info("x", 1, 2),
    "keys that are numbers": lambda: {1: 2},
    "too long": lambda: "x" * 100_000,
    "too deep": lambda: deep(200),
    "a list of itself": cyclic,
    "wide": lambda: wide(30),
}  # fmt: skip
"""None of them can be told, and nothing of them is run."""


def read(pickle):
    return [info for part in SDK.load_all(pickle.read_bytes()) for info in part]


def attributes(root):
    """(dataset's folder, name) -> what its entry has beside name and range, as the SDK reads it."""
    found = {}
    for pickle in pickles(root, False):
        for info in read(pickle):
            more = {k: v for k, v in vars(info).items() if k not in ("name", "offset_start", "offset_end")}
            found[str(pickle.parent.relative_to(root)), info.name] = more
    return found


def give(root, of, protocol=4):
    """Have entries have attributes, as the SDK would write them."""
    for pickle in pickles(root):
        infos = read(pickle)
        for info in infos:
            vars(info).update(of(info.name))
        pickle.write_bytes(SDK.dumps(infos[:2], protocol) + SDK.dumps(infos[2:], protocol))


def project(root, of, protocol=4, names=range(1, 9), **options):
    packed(root, numbered(len(names), names[0]), shard_images=5, **options)
    give(root, lambda name: of(int(name[1:4])), protocol)
    return root


def _repair(root):
    pickle = pickles(root, False)[0]
    infos = read(pickle)
    infos[1].offset_end += 1
    pickle.write_bytes(SDK.dumps(infos))
    repair(root, verify(root, processes=1))
    assert faults(root) == []


def _other(root, of, names):
    return project(root.with_name("other"), of, names=names)


def _into(root, of):
    other = project(root.with_name("other"), of, names=range(50, 55))
    merge(root, other)


def _subset(root):
    subset(root, root.with_name("made"), SubsetOptions(patterns=("*00[2-6].png",)))
    shutil.rmtree(root)
    root.with_name("made").rename(root)


def _twice(root):
    """Entries that an upload has written again, with its id, behind those that were there: the last word counts."""
    for pickle in pickles(root, False):
        bare = [SDK.Info(info.name, info.offset_start, info.offset_end) for info in read(pickle)]
        pickle.write_bytes(SDK.dumps(bare) + pickle.read_bytes())
    remove(root, ["train/a001.png"])
    compact(root)


def _edit(root):
    def change(fs):
        fs.pipe("train/img/new.png", picture_of("new.png", 99))
        fs.rm("train/img/a003.png")
        fs.cp_file("train/img/a004.png", "train/img/copy.png")

    transaction(root, change)


REWRITING = {
    **{name: lambda root, run=run: run(root, "train/img/a001.png") for name, run in TOUCHING.items()},
    "remove and compact": lambda root: (remove(root, ["train/a001.png"]), compact(root)),
    "move all of a blob": lambda root: move(root, [f"train/{name}" for name in NAMES[:5]], "elsewhere"),
    "move and back": lambda root: (move(root, ["train/a002.png"], "b"), move(root, ["b/a002.png"], "train")),
    "merge": lambda root: _into(root, lambda i: {"of": "the other", "n": i}),
    "add": lambda root: add(root, "train", [write(root.with_name("new") / "n.png", picture_of("n.png", 5))]),
    "subset": _subset,
    "verify --repair": _repair,
    "a transaction": _edit,
    "written twice": _twice,
}
NEW_BYTES = {"mv", "pipe", "add --replace"}
"""After these the image is in another blob, so what was said of its place isn't true any more."""


@pytest.mark.parametrize(
    ("kind", "protocol"),
    [(kind, protocol) for kind in ATTRIBUTES for protocol in (2, 4, 5) if protocol > 2 or kind != "of a newer SDK"],
)  # its bytes are a call in protocols before 3
@pytest.mark.parametrize("command", REWRITING)
def test_entries_that_stay_keep_their_attributes(tmp_path, command, kind, protocol):
    root = project(tmp_path / "p", ATTRIBUTES[kind], protocol)
    before = attributes(root)
    REWRITING[command](root)
    found = attributes(root)
    assert found
    for (dataset, name), more in found.items():
        if name.startswith("a05"):
            assert more == {"of": "the other", "n": int(name[1:4])}
        elif name in ("n.png", "new.png", "copy.png") or (name == "a001.png" and command in NEW_BYTES):
            assert more == {}
        else:
            assert more == before["train", name], (dataset, name)
    assert faults(root) == []


@pytest.mark.parametrize("command", ["remove", "move", "rm", "subset", "merge"])
def test_packed_annotations_too(tmp_path, command):
    root = project(tmp_path / "p", ATTRIBUTES["of a newer SDK"], annotations="packed")
    runs = REWRITING | {"merge": lambda root: merge(packed(root.with_name("q"), numbered(2, 70, "val")), root)}
    (before,) = [{i.name: vars(i)["crc"] for p in pickles(root, True) for i in read(p)}]
    runs[command](root)
    root = root.with_name("q") if command == "merge" else root
    found = [i for p in pickles(root, True) for i in read(p)]
    assert found and all(vars(info)["crc"] == before[info.name] for info in found)


@pytest.mark.parametrize("what", ODD)
def test_odd_values_are_refused_or_go_with_their_image(tmp_path, what):
    """Who has to write such an entry again says so, and changes nothing; of a dry run, it's in the plan."""
    root = packed(tmp_path / "p", numbered(8), shard_images=8)
    give(root, lambda name: {"x": ODD[what]()} if name == "a003.png" else {"team_file_id": 1}, 5)
    other = packed(tmp_path / "other", numbered(2, 50, "more"))
    before, names = files_below(root), shown(root)
    images = ["train/a001.png"]
    runs = [
        lambda dry: remove(root, images, dry_run=dry),
        lambda dry: move(root, ["train/a003.png"], "val", dry_run=dry),
        lambda dry: add(root, "train", [new], replace=True, dry_run=dry),
        lambda dry: merge(other, root, dry_run=dry),
    ]
    new = write(tmp_path / "new/a001.png", picture_of("a001.png", "new"))
    for run in runs:
        for dry in (True, False):
            with pytest.raises(PackError, match=r"_offsets.pkl.*a003\.png.*nothing was changed"):
                run(dry)
            assert files_below(root) == before
    with pytest.raises(PackError, match=r"a003\.png"):
        subset(root, tmp_path / "made", SubsetOptions(patterns=("*a003.png",)))
    assert not (tmp_path / "made").exists()
    with pytest.raises(PackError, match=r"a003\.png"):
        transaction(root, lambda fs: fs.rm("train/img/a001.png"))
    assert files_below(root) == before and shown(root) == names
    remove(root, ["train/a003.png"])
    assert all(more == {"team_file_id": 1} for more in attributes(root).values())
    remove(root, images)
    assert faults(root) == []


@pytest.mark.parametrize("what", ODD)
def test_odd_values_and_commands_that_make_all_offsets_anew(tmp_path, what):
    root = packed(tmp_path / "p", numbered(8), shard_images=8)
    remove(root, ["train/a001.png"])
    give(root, lambda name: {"x": ODD[what]()} if name == "a003.png" else {}, 5)
    before = files_below(root)
    for dry in (True, False):
        with pytest.raises(PackError, match=r"a003\.png"):
            compact(root, dry_run=dry)
    pickle = pickles(root)[0]
    pickle.write_bytes(pickle.read_bytes() * 2)
    said = repair(root, verify(root, processes=1))
    assert any("not mended" in sentence and "a003.png" in sentence for sentence in said)
    pickle.write_bytes(before[str(pickle.relative_to(root))])
    assert files_below(root) == before and len(tars(root)) == 1
