"""Many small commits: few blobs are left by themselves, and `compact` makes one of them."""

from __future__ import annotations

import hashlib
import os
import random
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner

import blobdir
from blobdir import ImageStore
from blobdir.cli.app import cli
from blobdir.errors import BlobdirWarning, UsageError
from blobdir.packing import add, compact
from blobdir.packing.folding import FOLD_BYTES, Small, ripe
from blobdir.packing.sums import read_sums
from blobdir.verifying import verify

pytestmark = pytest.mark.filterwarnings("error::blobdir.BlobdirWarning")


def blobs_of(store):
    return sorted(name for name in os.listdir(f"{store.path}/blob") if name.endswith(".tar"))


def errors_of(store):
    return [finding for finding in verify(store.path).findings if finding.severity == "error"]


def test_many_commits_of_one_image_leave_few_blobs(store):
    expected = {}
    for i in range(120):
        expected[f"{i:03}.jpg"] = store[f"{i:03}.jpg"] = b"%d" % i * 300
        assert len(blobs_of(store)) <= 8
    assert dict(ImageStore(store.path, "r")) == expected
    assert store.worth_compacting == ""
    assert errors_of(store) == []


def test_sizes_double_so_a_thousand_commits_leave_a_dozen_blobs():
    sizes, copied = [], 0
    for _ in range(1000):
        small = [Small(f"{number}", None, size) for number, size in enumerate(sorted(sizes))]
        taken = ripe(small, 10240)
        folded = sum(one.size for one in taken)
        copied += folded
        sizes = [one.size for one in small[len(taken) :]] + [10240 + folded]
    assert len(sizes) <= 12
    assert copied <= 12 * sum(sizes)


def test_nothing_is_lost_where_commits_fold_what_others_removed(store):
    expected = {}
    for i in range(40):
        name = f"{i % 7}"
        expected[name] = store[name] = b"%d" % i
        if i % 5 == 0:
            del store[f"{i % 7}"], expected[name]
    assert dict(store) == expected
    assert errors_of(store) == []


def test_a_blob_without_images_goes_at_once(store):
    store.put_many({f"{i}": bytes(5000) for i in range(10)})
    store.put_many({f"a{i}": bytes(600) for i in range(3)})
    assert len(blobs_of(store)) == 2
    store.put_many({f"{i}": b"new" for i in range(10)})
    store.delete_many(["a0", "a1", "a2"])
    assert len(blobs_of(store)) == 1
    store.clear()
    assert blobs_of(store) == []
    assert store.names == []


@pytest.mark.parametrize("way", ["store", "function", "command"])
def test_compact_folds_what_stores_wrote(store, tmp_path, way):
    expected = {}
    for i in range(5):
        images = {f"{i}-{j}": b"%d" % (i * j) * 3 for j in range(160 >> i)}
        store.put_many(images, metadata={f"{i}-0": {"i": i}})
        expected |= images
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    del store["0-1"], expected["0-1"]
    before = blobs_of(store)
    assert len(before) > 2
    reader = ImageStore(store.path, "r")
    project = blobdir.open_project(store.path)
    assert reader["0-2"] == expected["0-2"]
    if way == "store":
        report = store.compact()
        assert report.folded == len(before)
    elif way == "function":
        assert compact(store.path, dry_run=True).folded == len(before)
        assert blobs_of(store) == before
        compact(store.path)
    else:
        result = CliRunner().invoke(cli, ["compact", store.path])
        assert result.exit_code == 0
        assert f"{len(before)} small blobs folded" in result.output
    assert len(blobs_of(store)) == 1
    assert blobs_of(store)[0].startswith("store-")
    for seen in (store, reader, ImageStore(store.path, "r")):
        assert dict(seen) == expected
        assert dict(seen.metadata) == {f"{i}-0": {"i": i} for i in range(5)}
    assert {name: project["images"].get_blob_img_bytes(name) for name in expected} == expected
    assert errors_of(store) == []
    assert compact(store.path).folded == 0


def test_only_what_stores_wrote_is_folded(store, tmp_path):
    for name in ("a.png", "b.png"):
        path = tmp_path / name
        path.write_bytes(bytes.fromhex(
            "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
            "0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
        ))  # fmt: skip
        add(store.path, "images", [path])
    store["c"] = b"c"
    store["d"] = b"d"
    assert [name.partition("-")[0] for name in blobs_of(store)] == ["images", "images", "store"]
    assert compact(store.path).folded == 0
    assert store.names == ["a.png", "b.png", "c", "d"]


def test_that_compacting_is_worthwhile_is_said_once(store, monkeypatch):
    monkeypatch.setattr("blobdir.imagestore.pending.ripe", lambda *_: [])
    for i in range(64):
        store[f"{i}"] = b""
    with pytest.warns(BlobdirWarning, match="`blobdir compact` is worthwhile: images are in 65 blobs"):
        store["one more"] = b""
    assert "65 blobs" in store.worth_compacting
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store["and one more"] = b""
    store.compact()
    assert store.worth_compacting == ""
    assert len(blobs_of(store)) == 1
    assert len(store) == 66


def test_large_blobs_arent_written_anew_by_commits():
    large = Small("large", None, FOLD_BYTES - 1)
    assert ripe([large], 10240) == []


@pytest.mark.parametrize("seed", range(3))
def test_commits_without_a_look_between_them_know_what_is_there(store, seed):
    """Two stores write in turns, and neither reads: what each says of new and replaced images holds all the same."""
    rng, other, expected = random.Random(seed), ImageStore(store.path), {}
    for step in range(60):
        one = rng.choice([store, store, store, other])
        names = rng.sample(["a", "b", "c.jpg", "d", "f/x", "f"][: rng.choice([4, 6])], rng.randint(1, 3))
        try:
            if rng.random() < 0.3:
                one.delete_many(names)
                for name in names:
                    del expected[name]
                continue
            images = dict.fromkeys(names, b"%d" % step)
            facts = {names[0]: {"step": step}} if rng.random() < 0.1 else {}
            report = one.put_many(images, overwrite=rng.random() < 0.7, metadata=facts)
        except KeyError as error:
            assert error.args[0] not in expected
            assert not expected.keys() >= {*names}
        except UsageError:
            assert {"f", "f/x"} <= {*names, *expected}
        else:
            there = sum(name in expected for name in names)
            assert report.new == len(names) - there
            assert report.replaced + report.kept == there
            expected = expected | images if report.replaced else images | expected
        if rng.random() < 0.1:
            assert dict(rng.choice([store, other])) == expected
    assert dict(store) == dict(other) == expected
    assert errors_of(store) == []


@pytest.mark.parametrize("has_sums", [False, True])
def test_checksums_are_kept_where_there_are_any(store, has_sums):
    if has_sums:
        Path(store.path, "blob/SHA256SUMS").write_bytes(b"")
    for i in range(6):
        store.put_many({f"{i}-{j}": bytes(3000) for j in range(8 - i)})
    del store["5-0"]
    found = {name: hashlib.sha256(Path(store.path, "blob", name).read_bytes()).hexdigest() for name in blobs_of(store)}
    assert read_sums(f"{store.path}/blob/SHA256SUMS") == (found if has_sums else {})
    store.compact()
    store["last"] = b""
    assert errors_of(store) == []
    assert read_sums(f"{store.path}/blob/SHA256SUMS").keys() == ({*blobs_of(store)} if has_sums else set())


def test_images_larger_than_what_is_gathered(store):
    images = {f"{i}": os.urandom(700_000 + i) for i in range(9)}
    store.put_many(images)
    with store:
        store.put_many(images)
        store.put_many({name: data[::-1] for name, data in images.items() if int(name) % 2})
    assert dict(store) == {name: data[::-1] if int(name) % 2 else data for name, data in images.items()}
    assert errors_of(store) == []
