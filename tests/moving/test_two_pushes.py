"""Two that push to one place: whoever stops at whichever request, one says so, and nothing mixed looks whole."""

import json
import random
import shutil
import threading
import warnings

import fsspec
import pytest
from folder_bucket import Bucket, files

import blobdir
from blobdir.errors import BlobdirError, BusyError
from blobdir.moving import pack_to, push
from blobdir.packing import compact, remove

URLS = {"A": "tested://up", "B": "tested-too://up"}
WAIT_S = 15


class Second(Bucket):
    """The same bucket, as another machine sees it."""

    protocol = "tested-too"

    def _at(self, what, path):
        Turns.now.wait("B", what, path)
        return super()._at(what, path)


class First(Bucket):
    protocol = "tested"
    creates = True

    def _at(self, what, path):
        Turns.now.wait("A", what, path)
        return super()._at(what, path)


def once(self, path, value, **options):
    if First.creates and options.get("mode") == "create" and self.exists(path):
        raise FileExistsError(path)
    return Bucket.pipe_file(self, path, value, **options)


First.pipe_file = Second.pipe_file = once


class Turns:
    """Who may make the next request. `bursts` are (who, how many requests); after the last, everybody may."""

    now = None

    def __init__(self, bursts=()):
        self.bursts = list(bursts)
        self.ended = set()
        self.counted = {"A": 0, "B": 0}
        self.turn = threading.Condition()

    def wait(self, who, what, path):
        with self.turn:
            self.turn.wait_for(lambda: not self.bursts or self.bursts[0][0] == who or self.ended, WAIT_S)
            self.counted[who] += 1
            if self.bursts and self.bursts[0][0] == who:
                left = self.bursts[0][1] - 1
                self.bursts[:1] = [(who, left)] * (left > 0)
            self.turn.notify_all()

    def end(self, who):
        with self.turn:
            self.ended.add(who)
            self.turn.notify_all()


@pytest.fixture
def two(bucket, small, tmp_path, monkeypatch):
    """Two projects that have names in common, of the same sizes."""
    for one in (First, Second):
        fsspec.register_implementation(one.protocol, one, clobber=True)
    monkeypatch.setattr(First, "creates", True)
    monkeypatch.setattr(Turns, "now", Turns())
    other = tmp_path / "other"
    shutil.copytree(small, other, ignore=shutil.ignore_patterns(".blobdir"))
    remove(other, ["train/0.jpg", "val/1.jpg"])
    compact(other)
    for i in (2, 3, 4):
        edited = other / f"train/ann/{i}.jpg.json"
        edited.write_text(edited.read_text().replace(f"c{i}", f"c{i - 1}"))
    meta = json.loads((other / "meta.json").read_text())
    meta["classes"][0]["color"] = "#00FF00"
    (other / "meta.json").write_text(json.dumps(meta))
    (other / "notes.txt").write_text("of the other")
    yield {"A": small, "B": other}
    fsspec.register_implementation("tested", Bucket, clobber=True)


def run_both(projects, bursts, **options):
    """Push both; who says that it has ended well."""
    Turns.now = Turns(bursts)
    outcomes = {}

    def run(who):
        try:
            report = push(projects[who], URLS[who], delete=True, **options)
            outcomes[who] = report.complete or report.failed
        except BlobdirError as error:
            outcomes[who] = error
        finally:
            Turns.now.end(who)

    threads = [threading.Thread(target=run, args=(who,)) for who in projects]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert set(outcomes) == {"A", "B"}
    counted = Turns.now.counted
    Turns.now = Turns()
    return [who for who, outcome in outcomes.items() if outcome is True], outcomes, counted


def looks_whole(bucket):
    return (bucket / "meta.json").exists() and not (bucket / ".blobdir/pushing.json").exists()


def bytes_shown(url, index):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened = blobdir.open_project(url, index=index)
    return {f"{d}/{n}": opened[d].get_blob_img_bytes(n) for d in opened for n in opened[d].names}


def judge(bucket, projects, old, ended, outcomes, monkeypatch, tmp_path):
    wholes = {who: files(project) for who, project in projects.items()}
    found = files(bucket)
    assert len(ended) < 2 or found in wholes.values(), outcomes
    if looks_whole(bucket):
        unnamed = {path for path in found if path.startswith("blob/") and old and path not in old}
        assert found in wholes.values() or (old and {p: d for p, d in found.items() if p not in unnamed} == old)
        assert not ended or found in [wholes[who] for who in ended] or len(ended) < 2
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache{random.random()}"))
        assert bytes_shown(URLS["A"], "auto") == bytes_shown(URLS["A"], "none")
    else:
        assert len(ended) < 2
        assert not (bucket / ".blobdir/index.tar").exists() or not ended
    for who, outcome in outcomes.items():
        if isinstance(outcome, BlobdirError) and not isinstance(outcome, BusyError):
            assert "Error" not in type(outcome).__name__ or outcome.exit_code in (2, 7), (who, outcome)
    for who in ("A", "B"):
        assert push(projects[who], URLS[who], delete=True).complete
        assert files(bucket) == wholes[who]


def reset(bucket, old):
    shutil.rmtree(bucket, ignore_errors=True)
    for path, data in (old or {}).items():
        (bucket / path).parent.mkdir(parents=True, exist_ok=True)
        (bucket / path).write_bytes(data)


@pytest.mark.parametrize(("etags", "creates"), [(True, True), (False, False)], ids=["much is said", "little is said"])
@pytest.mark.parametrize("start", ["empty", "old"])
def test_one_is_stopped_and_the_other_begins_and_ends(bucket, two, tmp_path, monkeypatch, etags, creates, start):
    Bucket.etags, First.creates = etags, creates
    old = None
    if start == "old":
        push(two["A"], URLS["A"])
        old = files(bucket)
        remove(two["A"], ["val/3.jpg", "train/hard/2.jpg"])
        compact(two["A"])
    number, total = 0, 1
    while number < total:
        reset(bucket, old)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        ended, outcomes, counted = run_both(two, [("A", number), ("B", 1 << 30)] if number else [("B", 1 << 30)])
        total = max(total, counted["A"])
        judge(bucket, two, old, ended, outcomes, monkeypatch, tmp_path)
        number += 11 if number < total - 14 else 2
    assert total > 40


@pytest.mark.parametrize("seed", range(12))
def test_both_by_turns(bucket, two, tmp_path, monkeypatch, seed):
    draw = random.Random(seed)
    Bucket.etags, First.creates = draw.random() < 0.5, draw.random() < 0.5
    old = None
    if draw.random() < 0.5:
        push(two["A"], URLS["A"])
        old = files(bucket)
        remove(two["A"], ["val/3.jpg"])
        compact(two["A"])
    for _ in range(4):
        reset(bucket, old)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        longest = draw.choice([2, 10, 60])
        bursts = [(draw.choice("AB"), draw.randint(1, longest)) for _ in range(400 // longest)]
        ended, outcomes, _ = run_both(two, bursts)
        judge(bucket, two, old, ended, outcomes, monkeypatch, tmp_path)


def test_the_same_project_from_two_machines(bucket, two, tmp_path, monkeypatch):
    for number in range(1, 90, 8):
        reset(bucket, None)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        same = {"A": two["A"], "B": two["A"]}
        ended, outcomes, _ = run_both(same, [("A", number), ("B", 1 << 30)])
        judge(bucket, same, None, ended, outcomes, monkeypatch, tmp_path)


@pytest.mark.parametrize("kind", ["s3", "azure", "memory"])
def test_a_mark_is_made_only_where_there_is_none(request, two, kind, tmp_path):
    """A second one that has listed the place before the first one's mark was there."""
    from blobdir.moving.claim import Claim
    from blobdir.moving.remotefiles import list_remote
    from blobdir.sources import open_storage

    options = request.getfixturevalue(kind) if kind != "memory" else {}
    name = f"mark{abs(hash(tmp_path.name))}"
    url = {"s3": f"s3://{name}/p", "azure": f"abfs://{name}/p", "memory": f"memory://{name}/p"}[kind]
    if kind != "memory":
        fsspec.filesystem(url.partition(":")[0], **options).mkdir(name)
    first, second = (open_storage(url, options=options) for _ in range(2))
    empty = list_remote(first)
    one, other = Claim(first), Claim(second)
    one.take(empty)
    with pytest.raises(BusyError, match="somebody else is pushing"):
        other.take(empty)
    one.check()
    other.take(list_remote(second))  # as after a push that was cut off
    one.touched()
    with pytest.raises(BusyError):
        one.check()
    with pytest.raises(BusyError):
        other.check()


def test_a_lost_answer_to_ones_own_mark(bucket, small, monkeypatch):
    """The mark was made, and nobody has heard of it: the next try finds it there."""
    fsspec.register_implementation("tested", First, clobber=True)
    Turns.now = Turns()
    lost = []

    def make(self, path, value, **options):
        once(self, path, value, **options)
        if path.endswith("pushing.json") and not lost:
            lost.append(path)
            raise ConnectionError("lost")

    monkeypatch.setattr(First, "pipe_file", make)
    assert push(small, "tested://up").complete
    assert lost
    assert files(bucket) == files(small)


@pytest.mark.parametrize("when", ["blob", "meta"])
def test_packing_to_a_place_that_another_pushes_to(bucket, small, tmp_path, when):
    def before(what, path):
        if what == "write" and (path.endswith(".tar") if when == "blob" else path.endswith("/meta.json")):
            Bucket.before = staticmethod(lambda what, path: None)
            (bucket / ".blobdir/pushing.json").write_text("somebody else's")
            (bucket / "theirs.txt").write_text("x")

    Bucket.before = staticmethod(before)
    with pytest.raises(BlobdirError):
        pack_to(tmp_path / "plain", "tested://up")
    assert (bucket / ".blobdir/pushing.json").exists()
    assert not (bucket / ".blobdir/index.tar").exists()


@pytest.mark.parametrize("what", ["foreign", "changed", "removed"])
@pytest.mark.parametrize("when", ["meta.json", ".blobdir/index.tar"])
@pytest.mark.parametrize("how", ["push", "again", "pack"])
def test_another_program_writes_there_at_the_end(bucket, small, tmp_path, what, when, how):
    """No mark of its own tells of it."""
    if how == "again":
        push(small, "tested://up")

    def before(kind, path):
        if kind == "write" and path == f"up/{when}":
            Bucket.before = staticmethod(lambda kind, path: None)
            victim = bucket / "train/ann/2.jpg.json"
            if what == "foreign":
                (bucket / "train/ann/foreign.json").write_text("{}")
            elif what == "changed":
                victim.write_text(victim.read_text().replace("c2", "c9"))
            else:
                victim.unlink()

    if how == "again" and when == "meta.json":
        (small / "notes.txt").write_text("something to push")
    Bucket.before = staticmethod(before)
    try:
        if how == "pack":
            complete = pack_to(tmp_path / "plain", "tested://up")[1].complete
        else:
            complete = push(small, "tested://up", delete=how == "again").complete
    except BusyError:
        complete = False
    assert not complete
    assert (bucket / ".blobdir/pushing.json").exists() or (how == "again" and when != "meta.json")
    assert not (bucket / ".blobdir/index.tar").exists()
