"""``blobdir completion``: shells complete commands and options by click, and paths inside projects by us."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

VARIABLE = "_BLOBDIR_COMPLETE"  # click derives it from the program's name
SHOWN = 1000  # paths; more than that nobody reads, and bash takes seconds for

# Click's script, and what it lacks: a folder inside a project doesn't exist on disk, so bash must be told that what is
# completed are file names (it quotes them, and shows their last part), and that no space follows a folder.
_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' response completion type value folders=''
    response=$(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD %(complete_var)s=bash_complete "$1")
    COMPREPLY=()
    for completion in $response; do
        type=${completion%%%%,*} value=${completion#*,}
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            path)
                COMPREPLY+=("$value")
                [[ $value == */ ]] && folders=1
                ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done
    [[ $type == path ]] && compopt -o filenames
    [[ $folders ]] && compopt -o nospace
    return 0
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


def paths_in_project(incomplete: str) -> list[str]:
    """Paths inside a local project that begin as typed; folders end in a slash.

    Empty where that is no place in a project: nothing is looked for over a network while somebody types.
    """
    from blobdir.cli.target import split_local
    from blobdir.errors import BlobdirError
    from blobdir.filenames import is_path
    from blobdir.filesystem import BlobDirFileSystem

    folder, slash, start = incomplete.rpartition("/")
    if not is_path(incomplete):
        return []
    try:
        root, path = split_local(folder + slash or ".")
        if not os.path.isdir(root):
            return []
        tree = BlobDirFileSystem(root, skip_instance_cache=True).view
        row = tree.find(path)
        if not tree.is_directory(row):
            return []
        rows = [
            (child, name)
            for child, name in zip(tree.children(row), tree.names(row), strict=True)
            if name.startswith(start) and (start or not name.startswith("."))
        ]
    except (BlobdirError, OSError):
        return []
    if len(rows) > SHOWN:  # the last one too: what all have in common is then still right
        rows = [*rows[: SHOWN - 1], rows[-1]]
    return [f"{folder}{slash}{name}{'/' if tree.is_directory(child) else ''}" for child, name in rows]


class _Paths(ShellComplete):
    """Adds paths where click has nothing to say: arguments, and values of options, that are any text."""

    kind = "plain"

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        found = super().get_completions(args, incomplete)
        if found or incomplete.startswith("-"):
            return found
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            paths = paths_in_project(incomplete)
        return [CompletionItem(path, type=self.kind) for path in self._usable(paths)] or [
            CompletionItem(incomplete, type="file")
        ]

    @staticmethod
    def _usable(paths: Iterable[str]) -> Iterable[str]:
        """Those that a line of text can carry."""
        return (path for path in paths if path.isprintable())


class _Bash(_Paths, BashComplete):
    source_template = _BASH
    kind = "path"


class _Zsh(_Paths, ZshComplete):
    pass


class _Fish(_Paths, FishComplete):
    pass


CLASSES: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def register() -> None:
    """Let click use the classes above."""
    for name, kind in CLASSES.items():
        add_completion_class(kind, name)


@click.command("completion")
@click.argument("shell", type=click.Choice(list(CLASSES)))
def completion_command(shell: str) -> None:
    """Write the completion script for SHELL (bash, zsh or fish) to standard output.

    Completes commands, options, files, and paths inside local projects.

    \b
    source <(blobdir completion bash)
    blobdir completion bash > ~/.local/share/bash-completion/completions/blobdir
    blobdir completion fish > ~/.config/fish/completions/blobdir.fish
    """
    group = click.get_current_context().find_root().command
    click.echo(CLASSES[shell](group, {}, "blobdir", VARIABLE).source(), nl=False)
