"""Make ``tests/data/tars``: one folder, as a dozen writers of tars have it.

    python tests/data/make_tars.py

Needs tar, bsdtar, busybox, cpio, pax, 7z, perl, go, node with npm, and a Java with commons-compress
(``COMMONS_COMPRESS`` is its jar). A writer that isn't there is said, and its file stays as it was. What they make
depends on their versions only. Some leave out what their form can't hold: a long name, a time before 1970.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

FOLDER = Path(__file__).parent / "tars"
LONG = "n" * 96 + ".png"
"""A name of a hundred bytes, in a folder."""
VERY_LONG = "d" * 90 + "/" + "e" * 90 + "/" + "v" * 150 + ".png"
NAMES = ["a.png", "sub/b.png", "sub/deeper/c.png", "empty.png", "block.png", "blöck ß漢.png", "sub/" + LONG, VERY_LONG]
SIZES = {"empty.png": 0, "block.png": 512}
LINKS = {"sub/hard.png": "a.png"}
SYMBOLIC = {"symbolic.png": "a.png"}
OLD = "sub/deeper/c.png"
"""A file of before 1970."""


def content(name: str) -> bytes:
    """What is in the file of a base name."""
    base = os.path.basename(name)
    return (b"\x89PNG\r\n\x1a\n" + base.encode() * 100)[: SIZES.get(base, 700 + len(name))]


def make_source(root: Path) -> None:
    """Write the folder that all of them take."""
    for name in NAMES:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(name))
    for name, target in LINKS.items():
        os.link(root / target, root / name)
    for name, target in SYMBOLIC.items():
        (root / name).symlink_to(target)
    (root / "._a.png").write_bytes(bytes.fromhex("0005160700020000") + bytes(74))
    for folder, folders, names in os.walk(root):
        for name in [*folders, *names]:
            os.chmod(os.path.join(folder, name), 0o755, follow_symlinks=True)
            os.utime(os.path.join(folder, name), (1_700_000_000, 1_700_000_000), follow_symlinks=False)
    os.utime(root / OLD, (-1000, -1000))


GO = """package main
import ("archive/tar"; "io"; "os"; "path/filepath"; "time")
func main() {
	formats := map[string]tar.Format{"ustar": tar.FormatUSTAR, "pax": tar.FormatPAX, "gnu": tar.FormatGNU}
	root, format := os.Args[1], formats[os.Args[2]]
	out := tar.NewWriter(os.Stdout)
	filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		name, _ := filepath.Rel(root, path)
		if name == "." { return nil }
		link := ""
		if info.Mode()&os.ModeSymlink != 0 { link, _ = os.Readlink(path) }
		head, _ := tar.FileInfoHeader(info, link)
		head.Name, head.Format = name, format
		head.Uname, head.Gname = "", ""
		if format != tar.FormatPAX { head.AccessTime, head.ChangeTime = time.Time{}, time.Time{} }
		if info.IsDir() { head.Name += "/" }
		if out.WriteHeader(head) != nil { return nil }
		if info.Mode().IsRegular() { file, _ := os.Open(path); io.Copy(out, file); file.Close() }
		return nil
	})
	out.Close()
}
"""
JAVA = """import java.io.*; import java.nio.file.*; import org.apache.commons.compress.archivers.tar.*;
public class Made { public static void main(String[] a) throws Exception {
	Path root = Paths.get(a[0]);
	TarArchiveOutputStream out = new TarArchiveOutputStream(System.out, "UTF-8");
	boolean pax = a[1].equals("pax");
	out.setLongFileMode(pax ? TarArchiveOutputStream.LONGFILE_POSIX : TarArchiveOutputStream.LONGFILE_GNU);
	out.setBigNumberMode(pax ? TarArchiveOutputStream.BIGNUMBER_POSIX : TarArchiveOutputStream.BIGNUMBER_STAR);
	out.setAddPaxHeadersForNonAsciiNames(pax);
	for (Path path : (Iterable<Path>) Files.walk(root).sorted()::iterator) {
		if (path.equals(root) || Files.isSymbolicLink(path)) continue;
		TarArchiveEntry entry = new TarArchiveEntry(path.toFile(), root.relativize(path).toString());
		out.putArchiveEntry(entry);
		if (Files.isRegularFile(path)) Files.copy(path, out);
		out.closeArchiveEntry();
	}
	out.close();
} }
"""
TAR_STREAM = """const fs = require('fs'), path = require('path');
const pack = require('tar-stream').pack(), root = process.argv[2];
for (const name of fs.readdirSync(root, {recursive: true}).sort()) {
  const full = path.join(root, name), found = fs.lstatSync(full);
  if (found.isFile()) pack.entry({name, mtime: found.mtime}, fs.readFileSync(full));
}
pack.finalize(); pack.pipe(process.stdout);
"""
TAR_FS = "require('tar-fs').pack(process.argv[2]).pipe(process.stdout);"
NPM_TAR = (
    "const [cwd, portable] = process.argv.slice(2);"
    "require('tar').c({cwd, portable: portable === 'portable'}, ['.']).pipe(process.stdout);"
)
PERL = "use Archive::Tar; my $t = Archive::Tar->new; chomp(my @f = <STDIN>); $t->add_files(@f); $t->write(\\*STDOUT);"


def writers(source: str, work: Path) -> dict[str, list[str] | str]:
    """Name of each fixture -> a shell command, run in the source, that writes to standard output."""
    npm = f"NODE_PATH={work}/node_modules node {work}"
    every = {f"gnu-tar-{form}": f"tar --format={form} -cf - ." for form in ("v7", "oldgnu", "gnu", "ustar", "posix")}
    every |= {f"bsdtar-{form}": f"bsdtar --format={form} -cf - ." for form in ("v7", "ustar", "gnutar", "pax")}
    every |= {f"go-{form or 'default'}": f"{work}/made-go {source} '{form}'" for form in ("", "ustar", "pax", "gnu")}
    jar = os.environ.get("COMMONS_COMPRESS", "")
    every |= {f"commons-compress-{form}": f"java -cp {work}:{jar} Made {source} {form}" for form in ("gnu", "pax")}
    every |= {
        "busybox": "busybox tar -cf - .",
        "cpio-ustar": "find . -mindepth 1 | cpio --quiet -o -H ustar",
        "cpio-tar": "find . -mindepth 1 | cpio --quiet -o -H tar",
        "pax-ustar": "pax -w -x ustar .",
        "7-zip": f"7z a -bd -snl -ttar {work}/7.tar . >{work}/log && cat {work}/7.tar",
        "npm-tar": f"{npm}/npm-tar.js {source}",
        "npm-tar-portable": f"{npm}/npm-tar.js {source} portable",
        "tar-fs": f"{npm}/tar-fs.js {source}",
        "tar-stream": f"{npm}/tar-stream.js {source}",
        "perl": f"find . -mindepth 1 | perl -e '{PERL}'",
    }
    return every


def prepare(work: Path) -> None:
    """Compile and install what writers need."""
    (work / "made.go").write_text(GO)
    (work / "Made.java").write_text(JAVA)
    for name, text in {"npm-tar": NPM_TAR, "tar-fs": TAR_FS, "tar-stream": TAR_STREAM}.items():
        (work / f"{name}.js").write_text(text)
    jar = os.environ.get("COMMONS_COMPRESS", "")
    for command in (
        ["go", "build", "-o", "made-go", "made.go"],
        ["javac", "-cp", jar, "Made.java"],
        ["npm", "install", "--silent", "--no-fund", "--no-audit", "tar", "tar-fs", "tar-stream"],
    ):
        if shutil.which(command[0]):
            subprocess.run(command, cwd=work, check=False)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    missing = []
    with TemporaryDirectory() as folder:
        source, work = Path(folder) / "source", Path(folder) / "work"
        source.mkdir()
        work.mkdir()
        make_source(source)
        prepare(work)
        made = {}
        for name, command in writers(str(source), work).items():
            done = subprocess.run(["bash", "-c", command], cwd=source, capture_output=True, check=False)
            if not done.stdout:
                missing.append(f"{name}: {done.stderr.decode()[-200:]}")
                continue
            made[name] = done.stdout
        for name, form in {"ustar": 0, "gnu": 1, "pax": 2}.items():
            path = work / "python.tar"
            with tarfile.open(path, "w", format=form) as tar:
                for entry in sorted(source.rglob("*")):
                    try:
                        tar.add(entry, str(entry.relative_to(source)), recursive=False)
                    except ValueError:
                        continue  # a name or time that the form can't hold
            made[f"python-{name}"] = path.read_bytes()
    for name, data in made.items():
        (FOLDER / f"{name}.tar.gz").write_bytes(gzip.compress(data, 9, mtime=0))
    print("\n".join([f"{len(made)} tars", *missing]), file=sys.stderr)


if __name__ == "__main__":
    main()
