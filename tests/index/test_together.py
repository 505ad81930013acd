"""What large indexes are read and looked at with: a second thread, and memory of large pages."""

import threading

import pytest

from blobdir.index import memory
from blobdir.index.together import together


@pytest.mark.parametrize("helped", [True, False])
def test_answers_are_in_order(helped):
    numbers = list(range(100))
    assert together([lambda number=number: number for number in numbers], helped=helped) == numbers
    assert together([], helped=helped) == []


def test_both_threads_work():
    both = threading.Barrier(2, timeout=60)
    assert len(set(together([lambda: (both.wait(), threading.get_ident())[1]] * 2))) == 2


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("helped", [True, False])
def test_what_fails_in_either_is_raised(helped, error):
    def fail():
        raise error("it")

    for place in range(5):
        things = [lambda: None] * place + [fail] + [lambda: None] * (4 - place)
        with pytest.raises(error, match="it"):
            together(things, helped=helped)


def test_no_thread_to_be_had(monkeypatch):
    def none(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    assert together([threading.get_ident] * 3) == [threading.get_ident()] * 3


@pytest.mark.parametrize(
    ("devices", "gives_back"),
    [
        ({}, False),
        ({"virtio0": ("0x0005", "0110010100"), "virtio1": ("0x0002", "0")}, True),
        ({"virtio0": ("0x0005", "0110000100")}, False),
        ({"virtio0": ("0x0005", "01")}, False),
        ({"virtio0": ("0x0002", "0000010000"), "virtio1": ("0x0005", "0000000000")}, False),
        ({"virtio0": ("five", "0000010000"), "virtio1": ("0x0005", "0000010000")}, True),
    ],
)
def test_machines_that_give_memory_back(tmp_path, monkeypatch, devices, gives_back):
    for name, (device, features) in devices.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "device").write_text(f"{device}\n")
        (tmp_path / name / "features").write_text(f"{features}\n")
    monkeypatch.setattr(memory, "_VIRTIO", str(tmp_path))
    assert memory._gives_back.__wrapped__() is gives_back
    monkeypatch.setattr(memory, "_VIRTIO", str(tmp_path / "none"))
    assert not memory._gives_back.__wrapped__()
