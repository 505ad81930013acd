"""Every block of code in the documentation runs; what can't is marked by its language, and looked at closely.

======================  ==============================================================================================
``python``              runs; as a program of its own where it has a ``__main__``
``shell``               runs in bash
``console``             lines after ``#`` (root) and ``$``: bash's syntax, and blobdir's commands with their options
``dockerfile``          known instructions, the syntax of what they run, blobdir's commands
``ini``                 units and their settings
``fstab``               six fields, options that ``mount.blobdir`` takes
``toml``                a configuration file of blobdir
``yaml``                YAML, and blobdir's commands in it
``text``                pictures and output: nothing that one could type
======================  ==============================================================================================

Blocks find a project of their own at ``/data/lemons``, which has an image ``train/img/a.jpg``, an empty folder at
``/mnt/lemons``, and the same project at ``s3://bucket/lemons``.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import fsspec
import pytest
import yaml

import blobdir.demo
from blobdir.cli.app import cli
from blobdir.mounting.options import parse_options
from blobdir.packing import add
from blobdir.sources.config import read_config
from blobdir.testing.deadline import Deadline

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LANGUAGES = {"python", "shell", "console", "dockerfile", "ini", "fstab", "toml", "yaml", "text"}
INSTRUCTIONS = {"FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR", "ENTRYPOINT", "CMD", "LABEL", "ARG", "EXPOSE"}
BLOCK_S = 60


def blocks(*languages):
    """Blocks of these languages; those of the SDK are for tests/interop/test_platform.py."""
    found = []
    for page in PAGES:
        for i, match in enumerate(FENCE.finditer(page.read_text(encoding="utf-8"))):
            if match[2] in languages and (match[2], page.name) != ("python", "platform.md"):
                found.append(pytest.param(match[3], id=f"{page.relative_to(ROOT)}-{i}"))
    return found


@pytest.fixture(scope="session")
def lemons(tmp_path_factory):
    """The demo project, and one image more. Not to be changed."""
    folder = tmp_path_factory.mktemp("lemons")
    shutil.copytree(blobdir.demo.path(), folder / "lemons")
    train = blobdir.open_project(folder / "lemons")["train"]
    (folder / "a.jpg").write_bytes(train.get_blob_img_bytes("0_0010.jpg"))
    shutil.copy(folder / "lemons/train/ann/0_0010.jpg.json", folder / "a.jpg.json")
    add(folder / "lemons", "train", [folder / "a.jpg"], annotations=folder)
    return folder / "lemons"


@pytest.fixture(scope="session")
def bucket(lemons, request):
    """The project on an S3 server: what the environment must hold to find it."""
    public = {"ACL": "public-read"}  # for those who say anon=True
    options = request.getfixturevalue("s3")
    storage = fsspec.filesystem("s3", **options, s3_additional_kwargs=public)
    storage.mkdir("bucket")
    storage.put(f"{lemons}/", "bucket/lemons/", recursive=True)
    return {
        "AWS_ENDPOINT_URL": options["endpoint_url"], "AWS_ACCESS_KEY_ID": options["key"],
        "AWS_SECRET_ACCESS_KEY": options["secret"], "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip


@pytest.fixture
def place(request, lemons, tmp_path, monkeypatch):
    """Go to a folder of the test's own; give what puts its paths into a block of code."""
    for name in ("here", "mnt", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    shutil.copytree(lemons, tmp_path / "data/lemons")
    for name, value in {
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "HOME": str(tmp_path / "home"),
    }.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.replace("AUTHOR", "COMMITTER"), value)
    tools = [Path(sys.executable).parent, os.environ["PATH"], ROOT / ".venv-dvc/bin"]
    monkeypatch.setenv("PATH", ":".join(map(str, tools)))

    def prepare(code):
        if "s3://" in code:
            for name, value in request.getfixturevalue("bucket").items():
                monkeypatch.setenv(name, value)
        if re.search(r"^dvc ", code, re.MULTILINE) and not shutil.which("dvc"):
            pytest.skip("needs dvc, for which scripts/test makes an environment")
        return code.replace("/data/lemons", str(tmp_path / "data/lemons")).replace("/mnt/lemons", str(tmp_path / "mnt"))

    return prepare


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code, place):
    if "import torch" in code:
        pytest.importorskip("torch")
    code = place(code)
    if "__main__" in code:
        Path("program.py").write_text(code)
        subprocess.run([sys.executable, "program.py"], check=True, timeout=BLOCK_S)
    else:
        exec(compile(code, "documentation", "exec"), {})


@pytest.mark.parametrize("code", blocks("shell"))
def test_shell_runs(code, place, tmp_path):
    code = place(code)
    with Deadline(BLOCK_S, tmp_path):
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", code], check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("code", blocks("console"))
def test_console_could_run(code):
    commands = []
    for line in re.sub(r"\\\n", " ", code).splitlines():
        prompt, _, command = line.partition(" ")
        assert prompt in ("#", "$"), f"{line!r}: a line of a console begins with # or $; output belongs into text"
        commands.append(command)
    check_commands("\n".join(commands))


@pytest.mark.parametrize("code", blocks("dockerfile"))
def test_dockerfile_could_be_built(code):
    lines = re.sub(r"\\\n", " ", code).splitlines()
    instructions = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    assert instructions[0][0] == "FROM"
    for instruction, rest in instructions:
        assert instruction in INSTRUCTIONS
        if instruction in ("CMD", "ENTRYPOINT") and rest.startswith("["):
            check_commands(shlex.join(yaml.safe_load(rest)))
        elif instruction in ("RUN", "CMD", "ENTRYPOINT"):
            check_commands(rest)


@pytest.mark.parametrize("code", blocks("ini"))
def test_settings_are_settings(code):
    for line in code.splitlines():
        assert re.fullmatch(r"(\[[A-Z]\w+\]|[A-Za-z_]+=.*|#.*|)", line), line
    given = dict(line.split("=", 1) for line in code.splitlines() if "=" in line and not line.startswith("#"))
    if "PROJECT" in given:  # of blobdir@.service
        unit = (ROOT / "systemd/blobdir@.service").read_text()
        assert all(f"${{{name}}}" in unit or f"${name}" in unit or name.startswith("AWS_") for name in given)
        check_commands(f"blobdir mount --foreground {given['PROJECT']} {given['MOUNTPOINT']} {given['OPTIONS']}")


@pytest.mark.parametrize("code", blocks("fstab"))
def test_fstab(code):
    for line in code.splitlines():
        _, _, kind, options, dump, order = line.split()
        assert (kind, dump, order) == ("blobdir", "0", "0")
        parse_options(options)


@pytest.mark.parametrize("code", blocks("toml"))
def test_configuration(code, tmp_path, monkeypatch):
    (tmp_path / "config.toml").write_text(code)
    (tmp_path / "config.toml").chmod(0o600)
    monkeypatch.setenv("BLOBDIR_CONFIG", str(tmp_path / "config.toml"))
    assert read_config()


@pytest.mark.parametrize("code", blocks("yaml"))
def test_yaml(code):
    def commands(part):
        if isinstance(part, dict):
            command = part.get("command")
            if isinstance(command, list):
                yield shlex.join(map(str, [*command, *part.get("args", [])]))
            for value in part.values():
                yield from commands(value)
        elif isinstance(part, list):
            for value in part:
                yield from commands(value)

    for document in yaml.safe_load_all(code):
        assert isinstance(document, dict)
        for command in commands(document):
            check_commands(command)


def test_every_block_is_of_a_kind_that_is_tested():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for indent, language, code in FENCE.findall(text):
            if page.name == "performance.md" and not language:  # written by the benchmarks
                continue
            assert language in LANGUAGES, f"{page.name}: {language!r} of\n{code}"
            assert not indent, f"{page.name}: a block within a list isn't found by the tests:\n{code}"
            if language == "text":
                typed = re.search(r"^(import|from|pip|sudo|blobdir [a-z]+ [^─]|[$#] |\w+ = )", code, re.MULTILINE)
                assert not typed, f"{page.name}: {typed[0]!r} could be typed: python, shell or console"
        assert len(re.findall(r"^ *```", text, re.MULTILINE)) == 2 * len(FENCE.findall(text)), page


def test_what_can_run_is_most_of_it():
    others = [
        block for block in blocks("console", "dockerfile", "yaml", "ini", "fstab") if "commands.md" not in block.id
    ]
    assert len(blocks("python", "shell")) > 2 * len(others)


def check_commands(code):
    """Bash's syntax; and that blobdir would take its command lines."""
    done = subprocess.run(["bash", "-n", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), code
    tokens = shlex.shlex(code.replace("\n", " ; "), posix=True, punctuation_chars=True)
    tokens.whitespace_split = True
    words, to_file = [], False
    for token in [*tokens, ";"]:
        if to_file and not set(token) <= set("();<>|&"):
            to_file = False
        elif set(token) <= set("<>&") and not set(token) <= set("&"):
            to_file = True
        elif set(token) <= set("();<>|&"):
            check_command([word for word in words if word not in ("sudo", "exec")])
            words = []
        else:
            words.append(token)


def check_command(words):
    """One command; what is behind a ``-c`` is code again."""
    if "-c" in words[:-1]:
        check_commands(words[words.index("-c") + 1])
    elif words and words[0].rpartition("/")[2] == "blobdir":
        name, *rest = [word for word in words[1:] if word != "--debug"]
        context = click.Context(cli)
        try:
            if name in ("--version", "--help"):
                return
            assert name in cli.list_commands(context), f"blobdir has no command {name}"
            command = cli.get_command(context, name)
            if isinstance(command, click.Group) and rest and rest[0] in command.commands:
                name, *rest = rest
                command = command.commands[name]
            command.make_context(name, rest).close()
        except click.exceptions.Exit as end:
            assert end.exit_code == 0, words


def test_commands_are_checked():
    check_commands("sudo blobdir mount /data/lemons /mnt/lemons -o allow_other && blobdir umount /mnt/lemons")
    with pytest.raises(AssertionError):
        check_commands("if true; do")
    with pytest.raises(AssertionError):
        check_commands("blobdir munt /data/lemons")
    with pytest.raises(AssertionError):
        check_commands("docker run blobdir sh -c 'true && blobdir munt /data/lemons'")
    with pytest.raises(click.UsageError):
        check_commands("blobdir mount --workres 2 /data/lemons /mnt/lemons")
