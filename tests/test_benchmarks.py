"""Every workload, tiny: it runs, and what it reads is right (each checks that itself); and the report of all."""

import json
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import report
from benchmarks.__main__ import main
from benchmarks.measure import Figure, Outcome
from benchmarks.peers import PEERS, WITHOUT, here, roll_call
from benchmarks.results import Results
from benchmarks.workloads import WORKLOADS, Sizes

TINY = Sizes(images=300, many=2000, packed=300, chosen=2000, rows=2000, rounds=1)


@pytest.fixture(scope="module")
def data(disk_path_factory):
    return disk_path_factory.mktemp("data")


@pytest.fixture(autouse=True)
def alone(monkeypatch, data):
    monkeypatch.setenv("BLOBDIR_SDK_PYTHON", os.devnull + "/none")
    monkeypatch.setenv("XDG_CACHE_HOME", str(data / "cache"))
    WITHOUT.clear()
    roll_call.cache_clear() if hasattr(roll_call, "cache_clear") else None


@pytest.fixture(scope="module")
def results(data):
    return Results(data / "figures.json")


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda w: w.name)
def test_workload(data, results, workload):
    outcome = workload.outcome(data, TINY)
    assert outcome.rows or outcome.figures
    # Who isn't here is named, with what gets him; nobody is left out quietly.
    for name in workload.peers:
        assert any(line.startswith(f"{name} (") for line in outcome.missing) is not here(name)
    results.add(workload.name, outcome, TINY, 1.0)


def test_report_of_all(results, tmp_path):
    kept = Results.load(results.path)
    assert list(kept.entries) == list(results.entries)
    report.write(kept, tmp_path / "performance.md", {})
    text = (tmp_path / "performance.md").read_text()
    for entry in kept.entries.values():
        assert entry.outcome.title in text
        assert entry.outcome.method in text
        for peer in entry.outcome.missing:
            assert f"Not measured: {peer}." in text
    (tmp_path / "performance.md").write_text(f"mine\n\n{report.BEGIN}\nold\n{report.END}\n\nmine too\n")
    report.write(kept, tmp_path / "performance.md", {})
    text = (tmp_path / "performance.md").read_text()
    assert text.startswith("mine\n")
    assert text.endswith("mine too\n")
    assert "\nold\n" not in text


def test_losses_are_shown_as_losses(tmp_path):
    outcome = Outcome("Reading", "so and so")
    outcome.figures = [
        Figure("an image", "blobdir", 2.0, 1.0, 3.0, ours=True, headline=True, rounds=3),
        Figure("an image", "pread", 1.0, 1.0, 1.0, rounds=3),
        Figure("an image", "SDK", 50.0, 40.0, 60.0, peer="SDK", rounds=3),
    ]
    outcome.goal("as quick as pread", "0.5 ×", met=False)
    results = Results(tmp_path / "figures.json")
    results.add("reading", outcome, TINY, 1.0)
    text = report.markdown(results, {})
    assert "pread **0.50 ×**" in text
    assert "SDK 25 ×" in text
    assert "**missed**" in text
    assert "50.0 s (40.0–60.0)" in text


def test_run_keeps_what_is_measured(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.__main__.QUICK", TINY)
    arguments = ["run", "--quick", "--only", "starting", "--data", str(data), "--output", str(tmp_path)]
    assert main(arguments) == 0
    assert json.loads((tmp_path / "figures.json").read_text())["entries"]["starting"]["outcome"]
    assert "Starting" in (tmp_path / "performance.md").read_text().title()
    assert "here:" in capsys.readouterr().err
    assert main(["report", "--output", str(tmp_path)]) == 0


def test_peers_are_named(capsys):
    assert main(["peers"]) == 0
    told = capsys.readouterr().err
    for name, peer in PEERS.items():
        assert name in told
        assert here(name) or peer.get in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--only", "nothing"], "there are reading"),
        (["run", "--without", "nobody"], "no peer nobody"),
        (["run", "--rounds", "0"], "at least one"),
    ],
)
def test_bad_arguments(capsys, arguments, message):
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err
