"""What was measured, kept as JSON: each workload's outcome with when, where and on what it was measured."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.measure import Outcome
from benchmarks.peers import roll_call
from benchmarks.workloads import Sizes

FORMAT = 1


@dataclass
class Entry:
    """One workload, measured.

    Attributes
    ----------
    name : str
    date : str
        UTC, to the minute.
    took_s : float
    machine : str
    commit : str
        Of the checkout; with ``+`` where files differ from it; empty where there is no git.
    sizes : dict
        As in `Sizes`.
    versions : dict of str to str
        Of the peers that were here.
    outcome : Outcome
    """

    name: str
    date: str
    took_s: float
    machine: str
    commit: str
    sizes: dict[str, Any]
    versions: dict[str, str]
    outcome: Outcome


@dataclass
class Results:
    """All workloads that were measured, in the order of the list of workloads.

    Attributes
    ----------
    path : Path
    entries : dict of str to Entry
    unfinished : list of str
        Workloads of the last run that it didn't come to.
    """

    path: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> Results:
        """What is kept there; nothing where there is no file.

        Raises
        ------
        ValueError
            The file is of another format.
        """
        if not path.exists():
            return cls(path)
        kept = json.loads(path.read_text())
        if kept.get("format") != FORMAT:
            raise ValueError(f"{path}: isn't of format {FORMAT}: delete it, or name another --output")
        entries = {
            name: Entry(**(values | {"outcome": Outcome.from_json(values["outcome"])}))
            for name, values in kept["entries"].items()
        }
        return cls(path, entries, kept["unfinished"])

    def save(self) -> None:
        """Write the file, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        entries = {name: asdict(entry) for name, entry in self.entries.items()}
        kept = {"format": FORMAT, "unfinished": self.unfinished, "entries": entries}
        part.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
        part.replace(self.path)

    def of_other_sizes(self, sizes: Sizes) -> list[str]:
        """Workloads that were measured with other numbers of images or rows; rounds may differ."""
        wanted = asdict(sizes) | {"rounds": None}
        return [name for name, entry in self.entries.items() if entry.sizes | {"rounds": None} != wanted]

    def add(self, name: str, outcome: Outcome, sizes: Sizes, took_s: float) -> None:
        """Put an outcome in, in place of an earlier one, and keep it."""
        date = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        self.entries[name] = Entry(
            name, date, round(took_s, 1), machine(), commit(), asdict(sizes), versions(), outcome
        )
        if name in self.unfinished:
            self.unfinished.remove(name)
        self.save()


def machine() -> str:
    """The machine in one line."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    try:
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB of memory"
    except (OSError, ValueError):
        memory = ""
    return f"{model}, {os.cpu_count()} cores{memory}, {platform.system()} {platform.release()}"


def versions() -> dict[str, str]:
    """Of Python, of what blobdir builds on, and of the peers that are here."""
    ours = {"Python": platform.python_version()}
    ours |= {name: metadata.version(name) for name in ("blobdir", "fsspec", "numpy", "pillow")}
    return ours | roll_call()[0]


def commit() -> str:
    """The checkout's commit."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=12"]
    here = Path(__file__).parent
    try:
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()
