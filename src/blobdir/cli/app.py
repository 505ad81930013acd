"""The command group."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
import warnings
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import click

from blobdir import __version__
from blobdir.cli.errors import let_go, report, show_trace, show_usage, show_warning
from blobdir.cli.output import complain
from blobdir.errors import BlobdirWarning
from blobdir.interrupts import ENDING, remembering
from blobdir.libraries import keep_quiet

if TYPE_CHECKING:
    from collections.abc import Iterator


class _LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    # name -> module, and the first sentence of its help: showing that shouldn't import them all
    modules: ClassVar[dict[str, tuple[str, str]]] = {
        "add": ("growing", "Add images to DATASET of PROJECT, in a new blob."),
        "cache": (
            "caching",
            "Look after the cache: blocks of remote blobs, indexes, and images of the kernel engine, on this machine.",
        ),
        "cat": ("copying", "Write files to standard output, one after the other."),
        "compact": ("growing", "Write blobs of PROJECT anew without the images that no offsets refer to."),
        "completion": ("completing", "Write the completion script for SHELL (bash, zsh or fish) to standard output."),
        "convert": (
            "converting",
            "Write PROJECT, its images and labels, to the new folder DEST in a format of others.",
        ),
        "cp": ("copying", "Copy files out of a project, to a folder or any fsspec URL."),
        "export": ("exporting", "Write a project as an EROFS image that the Linux kernel mounts."),
        "fetch": ("moving", "Copy the project at URL to FOLDER, which must not exist."),
        "index": ("building", "Build the index of a project and keep it."),
        "info": ("describing", "Say what a project holds, or where the bytes of a file lie."),
        "ls": ("listing", "List a project, or folders and files in it."),
        "merge": (
            "growing",
            "Take all datasets of OTHER into PROJECT, with their blobs, annotations and all other files.",
        ),
        "mount": ("mounting", "Mount PROJECT at MOUNTPOINT, an empty folder: its files are ordinary files there."),
        "move": ("growing", "Move images to another DATASET of PROJECT, with their annotations and masks."),
        "offsets": ("building", "Write the offsets pickle of a tar."),
        "pack": (
            "packing",
            "Pack SOURCE, a regular project, a folder or list of images or an LMDB store, into the blob project DEST.",
        ),
        "preview": ("drawing", "Draw a contact sheet: images of PROJECT with their annotations over them."),
        "push": ("moving", "Copy PROJECT, a folder on this machine, to URL."),
        "remove": (
            "growing",
            "Remove images from PROJECT, with their annotations and masks; name them as train/a.jpg.",
        ),
        "stats": ("drawing", "Count what PROJECT holds: images, sizes, formats, classes, tags, for each dataset."),
        "status": (
            "mounting",
            "Say what is mounted, what it has served, and what has changed underneath.",
        ),
        "subset": ("packing", "Make DEST, a project with some images of PROJECT, and the same blobs."),
        "tree": ("listing", "Draw a project, or a folder in it, as a tree."),
        "unpack": (
            "packing",
            "Write all images and annotations of PROJECT as files to DEST, a folder or any fsspec URL.",
        ),
        "umount": ("mounting", "Unmount a project, and wait until the process that served it has ended."),
        "verify": (
            "verifying",
            "Prove PROJECT sound: offsets against tars, annotations against images and meta.json, checksums.",
        ),
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.modules:
            return None
        module = import_module(f"blobdir.cli.{self.modules[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.modules[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="blobdir")
@click.option("--debug", is_flag=True, help="Show where in the program an error comes from.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Blob projects (images packed in tars, with offset pickles) as ordinary folders.

    \b
    blobdir mount /data/lemons /mnt/lemons         its images and annotations as files
    blobdir info /data/lemons                      what is in a project
    blobdir ls -l /data/lemons/train/img           its images, as if they were files
    blobdir cp '/data/lemons/train/img/*.png' out/ copy some out
    blobdir offsets lemons.tar                     write the offsets pickle of a tar
    """
    context.obj = debug
    if _LazyGroup.modules.get(context.invoked_subcommand or "", ("", ""))[0] != "mounting":  # mounts have their own way
        context.with_resource(_ended_in_words())


class _Ended(KeyboardInterrupt):
    """A signal asks the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def _ended_in_words() -> Iterator[None]:
    """Have other signals that ask a program to end do what Ctrl-C does, where they'd end it without a word."""

    def end(number: int, _frame: object) -> None:
        raise _Ended(number)

    with ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            for number in ENDING:
                if signal.getsignal(number) == signal.SIG_DFL:
                    stack.callback(signal.signal, number, signal.SIG_DFL)
                    signal.signal(number, end)
        yield


def run(arguments: list[str]) -> int:
    """Run a command line.

    Returns
    -------
    int
        Exit status, see docs/cli.md.
    """
    said: set[str] = set()

    def show_once(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if str(message) not in said:  # a command may open a project, or list a place, several times
            said.add(str(message))
            show_warning(message, category)

    warnings.showwarning = show_once
    warnings.simplefilter("always", BlobdirWarning)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # what is wrong with an image is said by name, if it matters
    keep_quiet()
    with remembering() as done:
        return _run(arguments, done)


def _run(arguments: list[str], done: list[str]) -> int:
    try:
        status = _invoke(arguments)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        show_usage(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        cause = error.__cause__ if isinstance(error, click.Abort) else error
        if sys.stderr.isatty():  # it has ^C on its line
            click.echo(err=True)
        complain("; ".join(["interrupted", *dict.fromkeys([*getattr(cause, "__notes__", []), *done])]))
        return 128 + (cause.number if isinstance(cause, _Ended) else signal.SIGINT)
    except BrokenPipeError:
        raise
    except Exception as error:
        if "--debug" in arguments:
            let_go(error)
            show_trace(traceback.format_exc())
        status = report(error)
        for text in done:
            complain(text)
        return status
    return status if isinstance(status, int) else 0


def _invoke(arguments: list[str]) -> Any:
    if "_BLOBDIR_COMPLETE" in os.environ:  # a shell asks what could follow
        from blobdir.cli.completing import register

        register()
        return cli.main(args=arguments, prog_name="blobdir", standalone_mode=False)
    # As `click.Command.main` does it, but for readers that have gone: of that it makes exit status 1.
    with cli.make_context("blobdir", list(arguments)) as context:
        return cli.invoke(context)
