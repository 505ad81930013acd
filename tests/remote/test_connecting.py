"""Backends that connect when they are made, to a server that takes the connection and says nothing."""

import shutil
import socket
import subprocess
import sys
import threading
import time

import fsspec
import pytest
from changes.samples import packed, picture
from fsspec.implementations.local import LocalFileSystem

import blobdir
from blobdir.cli.app import run
from blobdir.errors import ReadError
from blobdir.sources import RemoteOptions
from blobdir.sources.backend import Backend

TIMEOUT_S = 1.0


@pytest.fixture
def silent():
    """The port of a server that never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def accept():
            try:
                while True:
                    held.append(server.accept()[0])
            except OSError:
                pass

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for connection in held:
            connection.close()


class Connecting(fsspec.AbstractFileSystem):
    """Its files are this machine's; it's made when it may be."""

    protocol = "connecting"
    cachable = False
    may = threading.Event()

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.may.wait(60)
        self._local = LocalFileSystem()

    def ls(self, path, detail=True, **kwargs):
        return self._local.ls(path, detail=detail)

    def info(self, path, **kwargs):
        return self._local.info(path)

    def cat_file(self, path, start=None, end=None, **kwargs):
        return self._local.cat_file(path, start, end)

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + str(path).removeprefix("connecting://").strip("/")


@pytest.fixture
def connecting(monkeypatch):
    fsspec.register_implementation("connecting", Connecting, clobber=True)
    monkeypatch.setattr(Connecting, "may", threading.Event())
    yield Connecting
    Connecting.may.set()


ASK = {
    "open": lambda url, there: blobdir.open_project(url, timeout=TIMEOUT_S),
    "info": lambda url, there: run(["info", url, "--timeout", str(TIMEOUT_S)]),
    "cp from": lambda url, there: run(["cp", "-r", url, str(there), "--timeout", str(TIMEOUT_S)]),
    "cp to": lambda url, there: run(["cp", str(there), url, "--timeout", str(TIMEOUT_S)]),
    "fetch": lambda url, there: run(["fetch", url, str(there), "--timeout", str(TIMEOUT_S)]),
    "push": lambda url, there: run(["push", str(there), url, "--timeout", str(TIMEOUT_S)]),
}


@pytest.mark.parametrize("how", ASK)
def test_a_constructor_that_hangs(connecting, tmp_path, capsys, how):
    there = packed(tmp_path / "p", {"train/1.png": picture(1)}) if how in ("push", "cp to") else tmp_path / "new"
    there = there / "meta.json" if how == "cp to" else there
    began = time.monotonic()
    url = f"connecting://{tmp_path}/q"
    if how == "open":
        with pytest.raises(ReadError, match=f"{url}: no connection within 1 s"):
            ASK[how](url, there)
    else:
        assert ASK[how](url, there) in (2, 7)
        assert "q: no connection within 1 s" in capsys.readouterr().err
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("protocol", ["sftp", "ftp"])
def test_a_server_that_says_nothing(silent, protocol):
    """The library goes on waiting in a thread, and says nothing on standard error when it gives up."""
    command = [sys.executable, "-m", "blobdir", "info", f"{protocol}://me:word@127.0.0.1:{silent}/p", "--timeout", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 7
    assert done.stderr == f"blobdir: {protocol}://…@127.0.0.1:{silent}/p: no connection within 1 s\n"


def test_one_that_hangs_later(connecting, tmp_path):
    """It's made again after a connection broke; what comes when it can be is right."""
    Connecting.may.set()
    root = packed(tmp_path / "p", {"train/1.png": picture(1)})
    backend = Backend(f"connecting://{root}", {}, timeout_s=TIMEOUT_S)
    assert backend.run(backend.info(f"{root}/meta.json", "it"), "it").size
    Connecting.may.clear()
    backend._broken = True
    with pytest.raises(ReadError, match="no (connection within 1 s|answer in time)"):
        backend.run(backend.info(f"{root}/meta.json", "it"), "it")
    Connecting.may.set()
    assert backend.run(backend.info(f"{root}/meta.json", "it"), "it").size
    shutil.rmtree(root)


def test_one_that_times_out_by_itself_is_made_again(connecting, tmp_path, monkeypatch):
    """As a connection that can't be made for a moment."""
    Connecting.may.set()
    root = packed(tmp_path / "p", {"train/1.png": picture(1)})
    backend = Backend(f"connecting://{root}", {}, timeout_s=20)
    assert backend.run(backend.info(f"{root}/meta.json", "it"), "it").size
    fails, make = [TimeoutError("timed out")] * 2, Connecting.__init__

    def failing(self, **kwargs):
        if fails:
            raise fails.pop()
        make(self, **kwargs)

    monkeypatch.setattr(Connecting, "__init__", failing)
    backend._broken = True
    assert backend.run(backend.info(f"{root}/meta.json", "it"), "it").size
    assert not fails


def test_it_is_made_where_no_thread_can_be_started(connecting, tmp_path, monkeypatch):
    Connecting.may.set()
    root = packed(tmp_path / "p", {"train/1.png": picture(1)})

    def none(*args, **more):
        raise OSError("no thread")

    monkeypatch.setattr("blobdir.background.start", none)
    backend = Backend(f"connecting://{root}", {}, timeout_s=TIMEOUT_S)
    assert backend.fs.exists(str(root))
    assert RemoteOptions().timeout > TIMEOUT_S
