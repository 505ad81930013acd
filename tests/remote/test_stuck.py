"""Servers that stop answering: who waits is told in time, who comes later is served, and programs end."""

import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import fsspec
import pytest

import blobdir
from blobdir.errors import ReadError
from blobdir.sources import backend


class Stalling:
    """A TCP proxy that can stop passing bytes on, without closing anything."""

    def __init__(self, upstream):
        self.upstream = upstream
        self.flows = threading.Event()
        self.flows.set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.upstream))
            stalled = threading.Event()  # a connection that has stalled stays so
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(one, other, stalled), daemon=True).start()

    def _pass(self, one, other, stalled):
        try:
            while data := one.recv(1 << 16):
                if not self.flows.is_set():
                    stalled.set()
                if not stalled.is_set():
                    other.sendall(data)
        except OSError:
            pass
        finally:
            if not stalled.is_set():
                other.close()

    def close(self):
        self._server.close()


@pytest.fixture
def stalling(sftp, digits):
    root, options = sftp
    if not (root / "lemons").exists():
        shutil.copytree(digits, root / "lemons")
    made = Stalling(options["port"])
    yield made, f"sftp://{root}/lemons", options | {"port": made.port}
    made.close()


def test_a_blocking_backend_comes_back(stalling, monkeypatch):
    proxy, url, options = stalling
    monkeypatch.setattr(backend, "STALL_S", 1.0)
    train = blobdir.open_project(url, storage_options=options, cache_size=0, memory_size=0, timeout=4)["train"]
    names = train.names
    expected = train.get_blob_img_bytes(names[0])
    proxy.flows.clear()
    began = time.monotonic()
    with pytest.raises(ReadError):
        train.get_blob_img_bytes(names[0])
    assert time.monotonic() - began < 12
    proxy.flows.set()
    began = time.monotonic()
    assert train.get_blob_img_bytes(names[0]) == expected
    assert time.monotonic() - began < 10


def test_others_are_served_while_a_blocking_backend_is_stuck(stalling, digits, monkeypatch):
    proxy, url, options = stalling
    train = blobdir.open_project(url, storage_options=options, cache_size=0, memory_size=0, timeout=4)["train"]
    monkeypatch.setattr(backend, "STALL_S", 1.0)
    proxy.flows.clear()
    errors = []

    def read():
        try:
            train.get_blob_img_bytes(train.names[0])
        except ReadError as error:
            errors.append(error)

    waiting = threading.Thread(target=read)
    waiting.start()
    time.sleep(1.5)  # it is connecting again by now
    memory = fsspec.filesystem("memory")
    memory.put(str(digits), "/beside/lemons", recursive=True)
    began = time.monotonic()
    assert len(blobdir.open_project("memory://beside/lemons")["train"]) == len(train)
    assert time.monotonic() - began < 1
    memory.rm("/beside", recursive=True)
    waiting.join(20)
    assert len(errors) == 1


END = """
import blobdir, sys, threading, time
from blobdir.sources import backend
options = {options!r}
train = blobdir.open_project({url!r}, storage_options=options, cache_size=0, timeout=40)["train"]
train.get_blob_img_bytes(train.names[0])
print("ready", flush=True)
sys.stdin.readline()
print("reading", flush=True)
train.get_blob_img_bytes(train.names[-1])
"""


def test_a_program_that_waits_can_be_interrupted(stalling):
    proxy, url, options = stalling
    code = END.format(url=url, options=options).replace("cache_size=0,", "cache_size=0, memory_size=0,")
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        proxy.flows.clear()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "reading\n"
        time.sleep(1)
        ended = None
        for _ in range(4):  # one that comes while an object is finalized is lost, in any Python program
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                ended = process.wait(3)
                break
        process.kill()
        assert ended is not None
