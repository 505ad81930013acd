"""Single random reads, lists of them, and all images as they are stored, in Python: blobdir beside its peers."""

from __future__ import annotations

import json
import random
import subprocess
from collections import deque
from pathlib import Path

from benchmarks.data import large_project, plain_folder, real_project
from benchmarks.measure import Figure, Outcome, interleaved, rounds_of
from benchmarks.peers import sdk_python
from benchmarks.stores import BATCH, Store, blobdir_stores, stores

LARGE_BATCH = 10_000
FEW = 1000  # of the slow ones
AMONG_MANY = 30_000  # random ones of a large project
PEERS = ("SDK", "lmdb", "wids", "webdataset", "ratarmountcore")
ONE, LISTS, ALL = "one random image", f"lists of {BATCH:,} random images, each", "all images as stored, each"


def run(folder: Path, images: int, rounds: int) -> Outcome:
    """Read images in random order, one by one and in lists, and from beginning to end."""
    outcome = Outcome(
        "Reading images in Python",
        f"{images:,} JPEG images of 3.3 to 4.3 KB in one tar; page cache warm. `os.pread` with the ranges known is the "
        f"bare system call, no peer. Stores that have no call for many read a list one by one. {FEW:,} images for "
        "ratarmountcore and fsspec's tar filesystem, 5 for the SDK (an interpreter of its own). LMDB: one file, "
        "read-only, no lock, no read-ahead, one transaction; wids: one shard, undecoded; ratarmountcore: its index made "
        "before. What each gives is compared with the plain files, after the timing. The process has freed a large "
        "array before, as any that uses numpy has: else the allocator gives memory back to the system after each list.",
    )
    root, plain = real_project(folder, images), plain_folder(folder, images)
    names = sorted(path.name for path in plain.iterdir())
    random.Random(1).shuffle(names)
    with stores(root, plain) as every:
        _measure(outcome, every, names, rounds, images)
        expected = [(plain / name).read_bytes() for name in names[:300]]
        for store in every:
            check(store, names[:300], expected)
    _floor(outcome, names, rounds, plain)
    _goals(outcome)
    _sdk(outcome, root, rounds)
    return outcome


def million(folder: Path, images: int, many: int, rounds: int) -> Outcome:
    """Random images of a large project."""
    count = min(AMONG_MANY, many)
    outcome = Outcome(
        f"Reading some of {many:,} images in Python",
        f"{count:,} random images of {many:,} of about 4 KB in one tar; page cache warm; as above otherwise.",
    )
    root = large_project(folder, many, images)
    names = [f"image_{number:08d}.jpg" for number in random.Random(3).sample(range(many), count)]
    plain = plain_folder(folder, images)
    expected = [(plain / f"image_{int(n[6:14]) % images:08d}.jpg").read_bytes() + n[6:14].encode() for n in names[:300]]
    with stores(root, None) as every:
        random_ones = [store for store in every if store.one]
        _measure(outcome, random_ones, names, rounds, many, stream=False)
        for store in random_ones:
            check(store, names[:300], expected)
    return outcome


def _measure(
    outcome: Outcome, every: list[Store], names: list[str], rounds: int, images: int, *, stream: bool = True
) -> None:
    del_me = bytearray(31 << 20)  # below 32 MiB, glibc then keeps as much instead of returning it
    del del_me
    things, about = {}, {}
    for store in every:
        some = names[: FEW if store.slow else None]
        keys = [store.key(name) for name in some]
        ways = {}
        if store.one:
            ways[ONE] = lambda store=store, keys=keys: store.each(keys)
            ways[LISTS] = lambda store=store, keys=keys: _lists(store, keys, BATCH)
        if store.stream and stream:
            ways[ALL] = lambda store=store: deque(store.stream(), maxlen=0)
        for what, thing in ways.items():
            things[store.who, what] = thing
            about[store.who, what] = (store, images if what == ALL else len(some))
    for thing in things.values():  # the page cache is warm, and so is what a peer opens late
        thing()
    for (who, what), found in rounds_of(things, rounds).items():
        store, count = about[who, what]
        outcome.figure(
            what,
            who,
            [seconds / count for seconds in found],
            peer=store.peer,
            ours=store.ours,
            headline=store.headline,
        )


def _lists(store: Store, keys: list, length: int) -> None:  # type: ignore[type-arg]
    for i in range(0, len(keys), length):
        some = keys[i : i + length]
        _ = store.bulk(some) if store.bulk else [store.one(key) for key in some]


def check(store: Store, names: list[str], expected: list[bytes]) -> None:
    """Every way gives the bytes of the plain files."""
    keys = [store.key(name) for name in names]
    if store.one:
        assert [store.one(key) for key in keys] == expected, store.who
    if store.bulk:
        assert sorted(store.bulk(keys)) == sorted(expected), store.who
    if store.stream:
        wanted = set(expected)
        assert wanted <= set(store.stream()), store.who


def _floor(outcome: Outcome, names: list[str], rounds: int, plain: Path) -> None:
    """What the bytes objects themselves cost, and lists of other lengths."""
    sizes = [(plain / name).stat().st_size for name in names]
    source = memoryview(bytes(max(sizes)))
    ours = next(store for store in blobdir_stores(real_project(plain.parent, len(names))) if "fsspec" in store.who)
    paths = [ours.key(name) for name in names]
    things = {
        "making as many bytes objects from memory, kept": lambda: [bytes(source[:size]) for size in sizes],
        "fsspec `cat`, one list of all, results kept": lambda: ours.bulk(paths),
        f"fsspec `cat`, lists of {BATCH:,}, results dropped": lambda: _lists(ours, paths, BATCH),
        f"fsspec `cat`, lists of {LARGE_BATCH:,}, results dropped": lambda: _lists(ours, paths, LARGE_BATCH),
    }
    for name, timing in interleaved(things, rounds).items():
        each = timing.per(len(names))
        rate = 1 / each.median_s
        outcome.rows.append((name, f"{each.median_s * 1e6:.2f} µs an image, {rate:,.0f}/s"))
        if "cat" in name:
            goal = name.partition(", ")[2].rpartition(", ")[0]
            outcome.goal(f"cat, {goal}: ≥ 300,000 images/s", f"{rate:,.0f}/s", rate >= 300_000)


def _goals(outcome: Outcome) -> None:
    us = {(figure.what, figure.who): figure.median for figure in outcome.figures}
    pread, image = us[ONE, "os.pread, ranges known"], us[ONE, "blobdir: Dataset"]
    single, local = us[ONE, "blobdir: fsspec"], us[ONE, "plain files by fsspec"]
    outcome.goal("cat_file ≤ 1.9 × pread", f"{single / pread:.2f} ×", single <= 1.9 * pread)
    outcome.goal("cat_file ≥ 3 × faster than LocalFileSystem", f"{local / single:.2f} ×", local >= 3 * single)
    outcome.goal("get_blob_img_bytes ≤ 1.9 × pread", f"{image / pread:.2f} ×", image <= 1.9 * pread)


def _sdk(outcome: Outcome, root: Path, rounds: int) -> None:
    sdk = sdk_figures(root, min(rounds, 3))
    if sdk is None:
        return
    who = f"the SDK {sdk['version']}"
    outcome.figures.append(
        Figure(ONE, who, *sdk["image_s"], peer="SDK", rounds=min(rounds, 3)),
    )
    us = {(figure.what, figure.who): figure.median for figure in outcome.figures}
    ratio = (sdk["image_s"][0] / sdk["pread_s"][0]) / (us[ONE, "blobdir: Dataset"] / us[ONE, "os.pread, ranges known"])
    outcome.goal("get_blob_img_bytes ≥ 10,000 × the SDK's", f"{ratio:,.0f} ×", ratio >= 10_000)


def sdk_figures(project: Path, rounds: int) -> dict | None:  # type: ignore[type-arg]
    """What the SDK takes, each as (median, fastest, slowest) in seconds; None where it isn't here."""
    python = sdk_python()
    if python is None:
        return None
    script = Path(__file__).with_name("sdk_peer.py")
    done = subprocess.run([python, script, project, str(rounds)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]
