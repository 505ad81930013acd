"""What can be said about a mount, in one place; and the ``-o`` list of mount(8) taken apart."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from blobdir.discovery import DiscoveryOptions
from blobdir.errors import UsageError
from blobdir.sources import RemoteOptions
from blobdir.sources.config import storage_value

Engine = Literal["auto", "kernel", "native", "fusepy"]
ENGINES: tuple[str, ...] = get_args(Engine)
MAX_WORKERS = 64
MASKS = 0o777


@dataclass(frozen=True, slots=True)
class MountOptions:
    """How a project is mounted.

    Attributes
    ----------
    engine : {"auto", "kernel", "native", "fusepy"}
    workers : int
        Processes that answer requests; 0 is one per processor, four at the most.
    threads : int
        Threads of each of them; 0 is one for a project on local disk, sixteen for one that is somewhere else.
    allow_other : bool
        Whether users other than the one who mounts may look in.
    uid, gid : int
        Owner of everything; -1 is the owner of the files and blobs.
    umask : int
        Permission bits that are taken away from everything.
    discovery : DiscoveryOptions
    index : str
        As in `blobdir.opening.OpenOptions`.
    remote : RemoteOptions
        How a project that isn't on this machine is read, and kept.
    storage_options : dict
        Options for the project's storage. They can hold credentials, so they are never shown.
    fsname : str
        What ``mount`` and ``df`` show; the URL where it's empty.
    """

    engine: Engine = "auto"
    workers: int = 0
    threads: int = 0
    allow_other: bool = False
    uid: int = -1
    gid: int = -1
    umask: int = 0
    discovery: DiscoveryOptions = field(default_factory=DiscoveryOptions)
    index: str = "auto"
    remote: RemoteOptions = field(default_factory=RemoteOptions)
    storage_options: dict[str, Any] = field(default_factory=dict, repr=False)
    fsname: str = ""

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise UsageError(f"there is no engine {self.engine!r}; there are {', '.join(ENGINES)}")
        if not 0 <= self.workers <= MAX_WORKERS:
            raise UsageError(f"workers must be 0 (as many as make sense) to {MAX_WORKERS}, not {self.workers}")
        if not 0 <= self.umask <= MASKS:
            raise UsageError(f"umask must be octal, 0 to 0777, not {self.umask:o}")

    def worker_count(self) -> int:
        """Processes that are started."""
        return self.workers or min(4, os.cpu_count() or 1)

    def to_json(self) -> str:
        """As text, for the process that mounts. It holds the credentials: for a pipe, not for a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> MountOptions:
        """Back from text."""
        values = json.loads(text)
        values["discovery"] = DiscoveryOptions(**values["discovery"])
        values["remote"] = RemoteOptions(**values["remote"])
        return cls(**values)


# Words of fstab and mount(8) that mean nothing to us, or what is true anyway.
_IGNORED = frozenset(
    ["ro", "rw", "defaults", "auto", "noauto", "nofail", "_netdev", "async", "default_permissions"]
).union(
    ["user", "nouser", "users", "nousers", "owner", "group", "dev", "nodev", "suid", "nosuid", "exec", "noexec"],
    ["atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime"],
)
_DISCOVERY = {f.name for f in fields(DiscoveryOptions)} - {"tars"}  # which the place says
_NUMBERS = {"workers": 10, "threads": 10, "uid": 10, "gid": 10, "umask": 8}
_TEXTS = ("engine", "index", "fsname")
_REMOTE = tuple(f.name for f in fields(RemoteOptions))


def parse_options(text: str) -> dict[str, Any]:
    r"""Take the list after ``-o`` apart.

    Parameters
    ----------
    text : str
        ``allow_other,uid=1000,umask=027,on_defect=ignore,storage.anon=true``; a comma in a value is written ``\,``.
        ``storage.KEY=VALUE`` is an option of the project's storage.

    Returns
    -------
    dict
        Fields of `MountOptions`, those of discovery and of remote storages under ``discovery`` and ``remote`` as
        dictionaries; and ``foreground``,
        ``log`` where they were given.

    Raises
    ------
    UsageError
        A word that isn't known, with those that are.
    """
    found: dict[str, Any] = {"discovery": {}, "storage_options": {}, "remote": {}}
    for word in _split(text):
        name, equals, value = word.partition("=")
        name = name.replace("-", "_") if not name.startswith(("x-", "storage.")) else name
        if not word or word in _IGNORED or name.startswith("x-") or name == "comment":
            continue
        if name in ("allow_other", "foreground") and not equals:
            found[name] = True
        elif name in _NUMBERS and equals:
            found[name] = _number(name, value, _NUMBERS[name])
        elif name in (*_TEXTS, "log") and equals:
            found[name] = value
        elif name in _REMOTE and equals:
            found["remote"][name] = _seconds(value) if name == "timeout" else value
        elif name in _DISCOVERY:
            found["discovery"][name] = value if equals else True
        elif name.startswith("storage.") and equals:
            found["storage_options"][name.removeprefix("storage.")] = storage_value(value)
        else:
            raise UsageError(f"-o {word.partition('=')[0]}: not known; there are {', '.join(known_options())}")
    return found


def known_options() -> list[str]:
    """Words that `parse_options` understands."""
    numbers = [f"{name}=N" for name in _NUMBERS]
    choices = [name if name in ("show_blobs", "follow_links") else f"{name}=…" for name in sorted(_DISCOVERY)]
    return [
        "allow_other",
        "foreground",
        *numbers,
        *(f"{n}=…" for n in (*_TEXTS, "log", *_REMOTE)),
        *choices,
        "storage.KEY=VALUE",
    ]


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"-o timeout={text}: isn't a number of seconds") from error


def _split(text: str) -> list[str]:
    return [word.replace("\0", ",").strip() for word in text.replace("\\,", "\0").split(",")]


def _number(name: str, value: str, base: int) -> int:
    try:
        return int(value, base)
    except ValueError:
        kind = "an octal number" if base == 8 else "a number"
        raise UsageError(f"-o {name}={value}: must be {kind}") from None
