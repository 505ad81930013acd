"""``blobdir unpack`` and ``cp -r``: everything that the project shows, under any name, or a word of what is missing."""

import os
import subprocess
import sys

from project_factory import *  # noqa: F403

PROGRAM = [sys.executable, "-c", "from blobdir.cli import main; main()"]


def call(*arguments, **options):
    return subprocess.run(
        [*PROGRAM, *map(os.fspath, arguments)], capture_output=True, text=True, timeout=60, check=False, **options
    )
