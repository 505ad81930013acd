"""The options that commands share: how a storage is reached, and how a project is opened."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click

from blobdir.errors import BlobdirWarning, UsageError
from blobdir.filenames import is_path

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = TypeVar("Command", bound=Callable[..., Any])

REMOTE = ("cache_dir", "cache_size", "timeout")
"""Options of `blobdir.sources.RemoteOptions` that commands take."""

ADDRESS_HELP = """
A project is a folder or any fsspec URL (s3://…, https://…). Inside it, name a file or folder by its path, with or
without a pattern: /data/lemons/train/img/a.jpg, 's3://bucket/lemons/train/img/*.png'; or by a chained URL:
blobdir://train/img/a.jpg::/data/lemons. Tars can be named as they are: photos.tar, photos.tar/dir/x.jpg, and many at
once, 'shards/*.tar', 's3://bucket/shard-{0000..0099}.tar'.
"""


@dataclass(frozen=True, slots=True)
class CommonOptions:
    """What all commands that open a project take.

    Attributes
    ----------
    storage : dict
        Options for the backend. They hold credentials, so they are never printed.
    filesystem : dict
        Options of `BlobDirFileSystem`.
    quiet : bool
        No progress bars, no warnings.
    remote : dict
        Those of `blobdir.sources.RemoteOptions`.
    """

    storage: dict[str, Any] = field(default_factory=dict, repr=False)
    filesystem: dict[str, Any] = field(default_factory=dict)
    quiet: bool = False
    remote: dict[str, Any] = field(default_factory=dict)


def _storage_options(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    from blobdir.sources.config import storage_value

    options: dict[str, Any] = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key:
            raise click.BadParameter("give key=value, such as anon=true or endpoint_url=http://127.0.0.1:9000")
        options[key] = storage_value(text)
    return options


def _remote_decorators() -> list[Any]:
    return [
        click.option(
            "--storage-option",
            multiple=True,
            metavar="KEY=VALUE",
            callback=_storage_options,
            help="Option for the project's storage, such as anon=true; may be repeated.",
        ),
        click.option("--cache-dir", metavar="FOLDER", help="Where blocks of remote blobs are kept."),
        click.option("--cache-size", metavar="SIZE", help="Bytes that it may take, as in 20GiB; 0 for no cache."),
        click.option(
            "--timeout",
            type=click.FloatRange(0, min_open=True),
            metavar="SECONDS",
            help="How long to try a request to a remote storage; by default 60.",
        ),
    ]


def _quiet() -> Any:
    return click.option("-q", "--quiet", is_flag=True, help="No progress, no warnings.")


def remote_options(command: Command) -> Command:
    """Give a command the options that say how a storage is reached; it receives them as `common`."""

    def pack(**given: Any) -> Any:
        remote = {name: value for name in REMOTE if (value := given.pop(name)) is not None}
        common = CommonOptions(given.pop("storage_option"), quiet=given.pop("quiet"), remote=remote)
        if common.quiet:
            warnings.simplefilter("ignore", BlobdirWarning)
        return command(common=common, **given)

    wrapped: Any = pack
    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    wrapped.__click_params__ = getattr(command, "__click_params__", [])
    for option in reversed([*_remote_decorators(), _quiet()]):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]


def project_options(command: Command) -> Command:
    """Give a command the options that say how a project is opened; it receives them as `common`."""

    def pack(**given: Any) -> Any:
        names = ("show_blobs", "follow_links", "on_conflict", "on_defect", "layout", "index")
        filesystem = {name: given.pop(name) for name in names}
        remote = {name: value for name in REMOTE if (value := given.pop(name)) is not None}
        common = CommonOptions(given.pop("storage_option"), filesystem, given.pop("quiet"), remote)
        if common.quiet:
            warnings.simplefilter("ignore", BlobdirWarning)
        return command(common=common, **given)

    wrapped: Any = pack
    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    for option in reversed(
        [
            *_remote_decorators(),
            click.option("--show-blobs", is_flag=True, help="Show blob/ and the offsets pickles as well."),
            click.option("--follow-links", is_flag=True, help="Follow symbolic links out of the project."),
            click.option(
                "--on-conflict",
                type=click.Choice(["error", "skip", "rename", "replace"]),
                default="error",
                show_default=True,
                help="One name with several contents: an error, the first, all under new names, or the last.",
            ),
            click.option(
                "--on-defect",
                type=click.Choice(["refuse", "ignore", "raise"]),
                default="refuse",
                show_default=True,
                help="Damaged parts: refuse only those, serve what is left of them, or stop.",
            ),
            click.option(
                "--layout",
                type=click.Choice(["files", "samples", "auto"]),
                default="files",
                show_default=True,
                help="Of tars: files by path; WebDataset's samples, as img/ and ann/; or what they are.",
            ),
            click.option(
                "--index",
                metavar="auto|none|FOLDER",
                default="auto",
                show_default=True,
                help="Where to look for a stored index.",
            ),
            _quiet(),
        ]
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]


def _max_pixels(_context: click.Context, _parameter: click.Parameter, value: int | None) -> None:
    if value is not None:
        from blobdir.images import set_pixel_limit

        set_pixel_limit(value)


def max_pixels_option(command: Command) -> Command:
    """Give a command that decodes images the option that says how large they may be; it receives nothing."""
    return click.option(
        "--max-pixels",
        type=click.IntRange(0),
        metavar="N",
        expose_value=False,
        callback=_max_pixels,
        help="Pixels of an image that is decoded at the most; 0: any number. By default 178,956,970.",
    )(command)


def on_this_machine(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Refuse URLs, where a command needs a folder: as a path they'd be one that doesn't exist."""
    if not is_path(value):
        from blobdir.sources.secrecy import without_secrets

        raise UsageError(
            f"{without_secrets(value)}: isn't on this machine, and this works only with what is; fetch it first: "
            "blobdir fetch"
        )
    return value
