"""What the tables of the documentation say is what the code says. test_docs_blocks.py runs its code."""

import ast
import inspect
import re
from pathlib import Path

from blobdir import errors
from blobdir.cli.app import cli
from blobdir.discovery import unfinished
from blobdir.erofs import structures
from blobdir.filesystem import BlobDirFileSystem
from blobdir.mounting.options import known_options
from blobdir.sources import keys

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
    codes |= unfinished.OF_THE_MOMENT | {keys.BOTH, keys.NO_PATH}
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
    assert listed == used | {0, 129, 130, 141, 143}


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


def environment_variables():
    """What the source asks the environment for: by name, by a constant, or through platformdirs."""
    folders = {
        "user_cache_path": "XDG_CACHE_HOME",
        "user_config_path": "XDG_CONFIG_HOME",
        "user_runtime_path": "XDG_RUNTIME_DIR",
    }
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and re.fullmatch(r"_?BLOBDIR(_[A-Z]+)+", str(node.value)):
                found.add(node.value)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "os.getenv"):
                asked = node.args[0]
                if isinstance(asked, ast.Constant):
                    found.add(asked.value)
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
                assert isinstance(node.slice, ast.Constant), f"{path}: {ast.unparse(node)}"
                found.add(node.slice.value)
            elif isinstance(node, ast.ImportFrom) and node.module == "platformdirs":
                found.update(folders[name.name] for name in node.names)
    return found


def test_environment_variables_are_those_of_the_code():
    page = (ROOT / "docs/cli.md").read_text()
    section = page[page.index("## Environment") :].split("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert len(documented) > 4
    assert set(documented) == environment_variables()


def test_no_option_is_documented_that_isnt_there():
    page = (ROOT / "docs/cli.md").read_text()
    context = cli.make_context("blobdir", [], resilient_parsing=True)
    rows = re.findall(r"^\| `blobdir (\w+)[^`]*` \| (.*) \|$", page, re.MULTILINE)
    assert [name for name, _ in rows if name not in cli.list_commands(context)] == []
    for name, text in rows:
        command = cli.get_command(context, name)
        commands = [command, *getattr(command, "commands", {}).values()]
        options = {option for one in commands for p in one.params for option in p.opts}
        for written in re.findall(r"`(--?[a-z][a-z-]*)", text):
            assert written in options, f"blobdir {name} has no {written}"


def test_options_of_the_filesystem():
    page = (ROOT / "docs/python.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", page, re.MULTILINE)
    parameters = inspect.signature(BlobDirFileSystem.__init__).parameters
    told = {"fo", "target_protocol", "target_options", "fs", "progress", "self", "kwargs"}
    assert {name: ast.literal_eval(default) for name, default in rows} == {
        name: parameter.default
        for name, parameter in parameters.items()
        if name not in told and not name.endswith("options") and parameter.kind is not parameter.VAR_KEYWORD
    }


def test_every_option_of_a_mount_is_documented():
    page = (ROOT / "docs/guides/mounting.md").read_text()
    for word in known_options():
        assert re.search(rf"`{re.escape(word.partition('=')[0])}\b", page) or word == "foreground", word


def templates():
    """Texts of the source, with … where something is put in."""

    def text(node):
        if isinstance(node, ast.Constant):
            return str(node.value)
        if isinstance(node, ast.JoinedStr):
            return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        if isinstance(node, ast.BinOp):
            return text(node.left) + text(node.right)
        return "…"

    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        tree = ast.parse(path.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            kinds = (ast.Constant, ast.JoinedStr, ast.BinOp)
            if isinstance(node, kinds) and id(node) not in docstrings and isinstance(getattr(node, "value", ""), str):
                found.add(re.sub(r"%[sd]", "…", text(node)))
    return found


def quoted_messages():
    page = (ROOT / "docs/troubleshooting.md").read_text()
    rows = re.findall(r"^\| `([^|]+)` \| (.+?) \| (.+?) \|$", page, re.MULTILINE)
    return [(message, cause, remedy) for message, cause, remedy in rows if message != "message"]


def test_messages_are_those_of_the_code():
    known = templates()
    messages = quoted_messages()
    assert len(messages) > 40
    for message, cause, remedy in messages:
        pattern = ".*".join(re.escape(part) for part in message.split("…"))
        assert any(re.search(pattern, text) for text in known), f"no message of the code is like {message!r}"
        assert cause and remedy
    assert len({message for message, _, _ in messages}) == len(messages)


def test_bytes_of_the_image_are_those_that_are_written():
    page = (ROOT / "docs/formats/erofs.md").read_text()
    tables = re.findall(r"^\| bytes \| `([A-Z_]+)` \| value \|\n\|---\|---\|---\|\n((?:\|.*\|\n)+)", page, re.MULTILINE)
    assert len(tables) == 6
    for name, rows in tables:
        kind = getattr(structures, name)
        for start, end, field in re.findall(r"^\| (\d+)–(\d+) \| `(\w+)` \|", rows, re.MULTILINE):
            dtype, offset = kind.fields[field][:2]
            assert (offset, offset + dtype.itemsize) == (int(start), int(end)), f"{name}.{field}"


def test_every_module_is_in_the_architecture():
    page = (ROOT / "docs/architecture.md").read_text()
    order = page[page.index("`cli, testing") :].split("|")[0]
    for path in (ROOT / "src/blobdir").iterdir():
        if path.name.startswith(("__", ".")) or path.name in ("py.typed", "version.py"):
            continue
        named = f"`{path.name}/`" if path.is_dir() else f"`{path.name}`"
        assert named in page or re.search(rf"\b{path.stem}\b", order), path.name
        assert path.name == "demo" or re.search(rf"\b{path.stem}\b", order), (
            f"the order of imports leaves out {path.name}"
        )
