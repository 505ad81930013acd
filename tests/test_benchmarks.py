"""Every workload, tiny: it runs, and what it reads is right (each checks that itself)."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.__main__ import as_text, main, workloads


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.mark.parametrize("name", workloads(Path(), images=1, rows=1, rounds=1))
def test_workload(data, name, monkeypatch):
    monkeypatch.setenv("BLOBDIR_SDK_PYTHON", os.devnull + "/none")
    outcome = workloads(data, images=300, rows=2000, rounds=1)[name]()
    assert outcome.rows
    assert outcome.title in as_text([outcome])


def test_unknown_workload(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--only", "nothing"])
    assert "there are reading" in capsys.readouterr().err
