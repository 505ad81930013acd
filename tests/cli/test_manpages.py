"""The manual pages: those that the commands make now, and without a fault that groff can find."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from blobdir.cli.app import cli
from blobdir.mounting.options import known_options

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "man/man1/blobdir.1", ROOT / "man/man8/mount.blobdir.8"]


def rendered(page):
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-P-cbou", "-rHY=0", page], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return re.sub(r"\s+", " ", done.stdout)


def test_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/manpages", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_renders_without_warnings(page):
    assert "SEE ALSO" in rendered(page)


def test_every_command_and_option_is_there():
    text = rendered(PAGES[0])
    context = cli.make_context("blobdir", [], resilient_parsing=True)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        inner = command.commands if isinstance(command, click.Group) else {}
        for words, one in [(name, command), *((f"{name} {each}", inner[each]) for each in inner)]:
            assert f"blobdir {words} " in text
            for parameter in one.params:
                if parameter.param_type_name == "option":
                    assert all(option in text for option in parameter.opts), (words, parameter.opts)


def test_every_option_of_a_mount_is_there():
    text = rendered(PAGES[1])
    assert len(known_options()) > 10
    for word in known_options():
        assert word in text, word
