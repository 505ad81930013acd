"""The kernel engine as one of the engines: chosen, asked after, unmounted; and what it does otherwise than they."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import blobdir
from blobdir import demo
from blobdir.erofs.gate import KernelFacts, judge, look
from blobdir.errors import MountError, UsageError
from blobdir.mounting import MountOptions, kernel, session, statuses
from blobdir.mounting.session import Session
from blobdir.mounting.state import state_folder
from blobdir.opening import OpenOptions, open_tree

# To be skipped where the kernel can't, or this user may not.
pytestmark = [pytest.mark.timeout(60), pytest.mark.platform]

SINCE = "has changed since the image was made: mount the project again to see that"
COMMAND = [str(Path(sys.executable).with_name("blobdir"))]


@pytest.fixture(autouse=True)
def possible(monkeypatch, request):
    monkeypatch.delenv("BLOBDIR_ENGINE")
    verdict = judge(look())
    if verdict.backing == "none" and "facts" not in request.node.name:
        pytest.skip("; ".join(verdict.reasons))


def run(*words):
    done = subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=40, check=False)
    return done.returncode, done.stdout, done.stderr


def status_of(place):
    return next((status for status in statuses() if status.record.mountpoint == str(place)), None)


def wait_until(true):
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_auto_takes_it_and_nobody_needs_to_stay(both, place):
    code, _, said = run("mount", both.project, place)
    assert code == 0
    assert f"is mounted at {place} (kernel engine: Linux " in said
    record = status_of(place).record
    assert (record.engine, record.pid) == ("kernel", 0)
    out = run("status")[1]
    assert "no process is needed" in out and "requests" not in out
    shown = next(one for one in json.loads(run("status", "--json")[1]) if one["mountpoint"] == str(place))
    assert (shown["engine"], shown["state"], shown["changed"]) == ("kernel", "serving", [])
    assert (place / "meta.json").read_bytes() == (both.project / "meta.json").read_bytes()
    assert run("umount", place) == (0, "", "")
    assert not os.path.ismount(place)
    assert status_of(place) is None
    assert not record.path().exists()


def test_second_mount_is_quick_and_uses_the_image_again(both, place, tmp_path):
    made = blobdir.mount(both.project, place, engine="kernel")
    image = Path(made.record.image)
    written = image.stat().st_ino
    other = tmp_path / "other"
    other.mkdir()
    with blobdir.mount(both.project, other, engine="kernel") as path:
        assert (path / "meta.json").exists() and (place / "meta.json").exists()
    assert image.stat().st_ino == written
    made.unmount()
    assert image.stat().st_mode & 0o777 == 0o600
    assert not image.is_relative_to(both.project)


def test_unmounted_by_others(both, place):
    assert run("mount", both.project, place, "--engine", "kernel")[0] == 0
    record = status_of(place).record
    subprocess.run(["umount", place], check=True)
    assert status_of(place) is None
    assert not record.path().exists()
    code, _, said = run("umount", place)
    assert code == 8 and "nothing is mounted there" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_foreground(both, place, number):
    with subprocess.Popen([*COMMAND, "mount", "-f", "--engine", "kernel", both.project, place]) as process:
        wait_until(lambda: os.path.ismount(place) and status_of(place))
        assert status_of(place).record.pid == process.pid
        process.send_signal(number)
        assert process.wait(10) == 0
    assert not os.path.ismount(place)


def test_killed_and_started_again(both, place):
    """As a service manager does it: the kernel goes on serving, and the next start takes over."""
    command = [*COMMAND, "mount", "-f", "--engine", "kernel", both.project, place]
    with subprocess.Popen(command) as process:
        wait_until(lambda: os.path.ismount(place) and status_of(place))
        process.kill()
    assert (place / "meta.json").exists()
    assert status_of(place).state == "serving"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: (found := status_of(place)) and found.record.pid == process.pid)
        assert (place / "meta.json").exists()
        process.terminate()
        assert process.wait(10) == 0
    assert not os.path.ismount(place)


def test_foreground_ends_when_it_is_unmounted(both, place):
    with subprocess.Popen([*COMMAND, "mount", "-f", "--engine", "kernel", both.project, place]) as process:
        wait_until(lambda: os.path.ismount(place) and status_of(place))
        blobdir.umount(place)
        assert process.wait(10) == 0


def test_goes_with_the_process_that_made_it(both, place):
    mount = f"blobdir.mount({str(both.project)!r}, {str(place)!r}, engine='kernel')"
    code = f"import blobdir, time; {mount}; print('up', flush=True); time.sleep(99)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"up\n"
        assert os.path.ismount(place)
        process.kill()
    wait_until(lambda: not os.path.ismount(place))


def test_busy(both, place):
    made = blobdir.mount(both.project, place, engine="kernel", keep=True)
    with open(place / "meta.json", "rb"):
        with pytest.raises(MountError, match="is in use by"):
            made.unmount()
        made.unmount(lazy=True)
    assert not os.path.ismount(place)


def test_helper_of_mount8(both, place):
    helper = Path(sys.executable).with_name("mount.blobdir")
    done = subprocess.run(
        [helper, both.project, place, "-o", "rw,engine=kernel,uid=1234,allow_other,nofail"], check=False, timeout=30
    )
    assert done.returncode == 0
    assert os.stat(place / "meta.json").st_uid == 1234
    blobdir.umount(place)


def test_status_tells_what_changed_and_a_new_mount_has_it(own, place):
    annotation = own.project / "train/ann/image 0000.png.json"
    made = blobdir.mount(own.project, place, engine="kernel", keep=True)
    assert status_of(place).changed == []
    annotation.write_bytes(b'{"changed": true}')
    assert status_of(place).changed == [f"train/ann/image 0000.png.json {SINCE}"]
    assert (place / "train/ann/image 0000.png.json").read_bytes() != b'{"changed": true}'
    made.unmount()
    with blobdir.mount(own.project, place, engine="kernel"):
        assert (place / "train/ann/image 0000.png.json").read_bytes() == b'{"changed": true}'
        assert status_of(place).changed == []


def test_status_when_a_newer_image_was_made(own, place, tmp_path):
    made = blobdir.mount(own.project, place, engine="kernel")
    (own.project / "notes.txt").write_bytes(b"new")
    (tmp_path / "other").mkdir()
    with blobdir.mount(own.project, tmp_path / "other", engine="kernel"):
        assert any("a newer image of it was made" in sentence for sentence in status_of(place).changed)
        assert (place / "notes.txt").read_bytes() == b""
    made.unmount()


def test_blob_that_is_replaced_is_told(own, place):
    with blobdir.mount(own.project, place, engine="kernel"):
        blob = own.blobs["a"]
        data = (place / "train/img/size_0004096.jpg").read_bytes()
        blob.rename(blob.with_suffix(".old"))
        blob.write_bytes(bytes(10_240))
        assert (place / "train/img/size_0004096.jpg").read_bytes() == data
        assert any("blob/a.tar was replaced" in sentence for sentence in status_of(place).changed)


def test_only_for_the_owner_unless_others_are_allowed(both, place):
    with blobdir.mount(both.project, place, engine="kernel"):
        assert os.stat(place).st_mode & 0o777 == 0o500
    with blobdir.mount(both.project, place, engine="kernel", allow_other=True, umask=0o007):
        assert os.stat(place).st_mode & 0o777 == 0o550


def test_what_it_cannot_do_is_said(both, place, tmp_path):
    import fsspec

    fsspec.filesystem("memory").pipe("/kernel/meta.json", b"{}")
    tree = open_tree("memory://kernel")
    assert "local projects only" in kernel.why_not(tree, "/mnt", named=True)
    tree = open_tree(both.project)
    assert "handed over" in kernel.why_not(tree, "/dev/fd/9", named=True)
    with pytest.raises(MountError, match="local projects only; use another engine"):
        Session("memory://kernel", str(place), MountOptions(engine="kernel")).run(lambda _: None)


@pytest.mark.parametrize("url", ["{p}", "file://{p}"])
@pytest.mark.parametrize("engine", ["kernel", "auto"])
def test_one_that_is_changed_while_it_is_mounted(tmp_path, place, monkeypatch, engine, url):
    """What is there then is mounted: images and labels of one version."""
    project = shutil.copytree(demo.path(), tmp_path / "p")
    fs = blobdir.BlobDirFileSystem(project, skip_instance_cache=True)
    first, second = sorted(fs.ls("train/img", detail=False))[:2]
    real, opened = session.open_tree, []

    def open_and_change(*args, **options):
        opened.append(real(*args, **options))
        if len(opened) == 1:
            with fs.transaction:
                fs.mv([first, second], [second, first])
        return opened[-1]

    monkeypatch.setattr(session, "open_tree", open_and_change)
    Session(url.format(p=project), str(place), MountOptions(engine=engine), leave=True).run(lambda _: None)
    try:
        assert len(opened) == 2
        assert status_of(place).record.engine == "kernel"
        now = blobdir.BlobDirFileSystem(project, skip_instance_cache=True)
        for path in (first, second, *(one.replace("/img/", "/ann/") + ".json" for one in (first, second))):
            assert (place / path).read_bytes() == now.cat_file(path)
    finally:
        assert run("umount", place)[0] == 0


def test_facts_decide(both):
    tree = open_tree(both.project, options=OpenOptions(index="none"))
    good = KernelFacts("Linux", "6.18.44", may_mount=True, has_erofs=True, has_loops=True)
    assert kernel.why_not(tree, "/mnt", named=False, facts=good) == ""
    user = KernelFacts("Linux", "6.18.44", may_mount=False, has_erofs=False, has_loops=False)
    assert "CAP_SYS_ADMIN" in kernel.why_not(tree, "/mnt", named=False, facts=user)
    old = KernelFacts("Linux", "6.8.0-60-generic", may_mount=True, has_erofs=True, has_loops=True)
    assert kernel.why_not(tree, "/mnt", named=False, facts=old) == ""
    tree.index.header.blobs.extend(tree.index.header.blobs * 10)
    loops = len(tree.index.header.blobs) + 1
    assert f"{loops} loop devices, since Linux 6.8.0-60" in kernel.why_not(tree, "/mnt", named=False, facts=old)
    assert kernel.why_not(tree, "/mnt", named=True, facts=old) == ""
    tree.index.header.incomplete["train/img"] = [0]
    assert "names aren't all known" in kernel.why_not(tree, "/mnt", named=False, facts=good)


def test_too_much_to_copy_is_for_another_engine(own, place, monkeypatch):
    monkeypatch.setattr(kernel, "AUTO_COPY_BYTES", 100)
    tree = open_tree(own.project)

    with pytest.raises(UsageError, match="more than the 100 that are allowed"):
        kernel.prepare_for(tree, MountOptions(), named=False)
    assert not os.path.ismount(place)


def test_exported_image_is_mounted(own, place, tmp_path):
    image = tmp_path / "own.erofs"
    assert run("export", "erofs", own.project, "-o", image)[0] == 0
    assert run("mount", image, place)[0] == 0
    status = status_of(place)
    assert (status.record.url, status.record.engine, status.changed) == (str(own.project), "kernel", [])
    assert (place / "meta.json").read_bytes() == b'{"classes": []}'
    (own.project / "meta.json").write_bytes(b"{}")
    assert status_of(place).changed == [f"meta.json {SINCE}"]
    assert run("umount", place) == (0, "", "")
    code, _, said = run("mount", image, place, "--engine", "native")
    assert code == 2 and "only the kernel engine mounts" in said
    code, _, said = run("mount", image, place, "-o", "umask=077")
    assert code == 2 and "blobdir export" in said
    own.blobs["a"].write_bytes(b"other")
    code, _, said = run("mount", image, place)
    assert code == 7 and "blob/a.tar: was replaced or changed" in said
    assert not os.path.ismount(place)


def test_engine_by_environment(both, place, monkeypatch):
    monkeypatch.setenv("BLOBDIR_ENGINE", "fusepy")
    with blobdir.mount(both.project, place):
        record = status_of(place).record
        assert (record.engine, record.why) == ("fusepy", "BLOBDIR_ENGINE says so")
    monkeypatch.setenv("BLOBDIR_ENGINE", "none")
    with pytest.raises(ValueError, match="BLOBDIR_ENGINE: there is no engine 'none'"):
        blobdir.mount(both.project, place)
    assert not list(state_folder().glob("kernel-*.json"))
