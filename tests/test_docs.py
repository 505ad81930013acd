"""What the documentation says is so: its code runs, its tables are the code's."""

import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import blobdir.demo
from blobdir import errors
from blobdir.cli.app import cli
from blobdir.testing.deadline import Deadline

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language):
    found = []
    for page in PAGES:
        for i, match in enumerate(m for m in BLOCK.finditer(page.read_text(encoding="utf-8")) if m[1] == language):
            found.append(pytest.param(match[2], id=f"{page.relative_to(ROOT)}-{i}"))
    return found


@pytest.mark.parametrize("code", blocks("python"))
def test_python_blocks_run(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "documentation", "exec"), {})


@pytest.mark.parametrize("code", blocks("shell"))
def test_shell_blocks_run(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(blobdir.demo.path(), tmp_path / "lemons")
    code = code.replace("/data/lemons", str(tmp_path / "lemons"))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with Deadline(60, tmp_path):
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", code], check=False, env={**os.environ, "PATH": path})
    assert done.returncode == 0


def test_every_defect_is_explained():
    source = "".join(path.read_text() for path in (ROOT / "src/blobdir/discovery").glob("*.py"))
    calls = r'(?:report|_report)\.(?:error|warning)\(\s*"([\w-]+)"|incomplete\(\s*\w+[.\w]*,\s*"([\w-]+)"'
    codes = {a or b for a, b in re.findall(calls, source)}
    codes |= set(re.findall(r'Defect\(\s*"\w+",\s*"([\w-]+)"', source))
    codes |= set(re.findall(r'_unusable\(record, "([\w-]+)"', source))
    codes |= {f"offsets-{kind.reason}" for kind in errors.OffsetsError.__subclasses__()}
    page = (ROOT / "docs/semantics.md").read_text()
    explained = set(re.findall(r"^\| `([\w-]+)` \| (?:error|warning)", page, re.MULTILINE))
    assert len(codes) > 20
    assert explained == codes


def test_every_error_is_in_the_table():
    page = (ROOT / "docs/semantics.md").read_text()
    for name, kind in vars(errors).items():
        if not inspect.isclass(kind) or not issubclass(kind, errors.BlobdirError) or kind is errors.BlobdirError:
            continue
        assert f"`{name}`" in page, name
        row = re.search(rf"^\| `{name}`[^|]*\| `(\w+)` \| (\d) \|", page, re.MULTILINE)
        if row:
            assert row[1] in {base.__name__ for base in kind.__mro__}, name
            assert int(row[2]) == kind.exit_code, name


def test_exit_codes_are_those_of_the_errors():
    page = (ROOT / "docs/cli.md").read_text()
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    used = {kind.exit_code for kind in vars(errors).values() if inspect.isclass(kind) and hasattr(kind, "exit_code")}
    assert listed == used | {0, 130, 141}


def test_every_command_and_option_is_documented():
    page = (ROOT / "docs/cli.md").read_text()
    context = cli.make_context("blobdir", [], resilient_parsing=True)
    for name in cli.list_commands(context):
        assert f"`blobdir {name}" in page
        command = cli.get_command(context, name)
        assert command.help
        for parameter in command.params:
            if parameter.param_type_name == "option" and "--help" not in parameter.opts:
                assert any(option in page for option in parameter.opts), (name, parameter.opts)
                assert getattr(parameter, "help", None), (name, parameter.opts)
