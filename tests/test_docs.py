"""What the tables of the documentation say is what the code says. test_docs_blocks.py runs its code."""

import inspect
import re
from pathlib import Path

from blobdir import errors
from blobdir.cli.app import cli

ROOT = Path(__file__).parent.parent


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
