"""Packs a Debian package from [package.metadata.deb] of Cargo.toml, as cargo-deb does, with plain dpkg tools.

Read here: name, maintainer, section, priority, depends, extended-description, maintainer-scripts, conf-files, assets.
"""

import argparse
import glob
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BUILT = "target/release/"
SCRIPTS = ("preinst", "postinst", "prerm", "postrm", "config")


def run(*command, **options):
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed; see above")
    return done.stdout


def metadata(repository):
    """The package and its `deb` table."""
    text = run("cargo", "metadata", "--locked", "--no-deps", "--format-version", "1", cwd=repository)
    package = json.loads(text)["packages"][0]
    return package, package["metadata"]["deb"]


def sources(pattern, repository, built):
    """The files an asset names; what cargo builds stands under target/release whatever the profile."""
    in_build = pattern.startswith(BUILT)
    path = built / pattern.removeprefix(BUILT) if in_build else repository / pattern
    found = sorted(glob.glob(str(path)))
    if not found:
        sys.exit(f"no file is {path}, which the assets of Cargo.toml name")
    return [Path(file) for file in found]


def place(source, target, mode, root):
    """Copies one file; a target with a slash at its end is a directory."""
    name = target + source.name if target.endswith("/") else target
    name = name.removeprefix("/")
    # Debian policy 12.1 and 12.7: manuals and changelogs are compressed.
    if name.startswith("usr/share/man/") or name.endswith("/changelog"):
        content, name = gzip.compress(source.read_bytes(), 9, mtime=0), name + ".gz"
    else:
        content = source.read_bytes()
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(int(mode, 8))
    return path


def is_executable(path):
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def library_packages(executables):
    """What $auto stands for: the packages of the shared libraries."""
    if not executables:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        # dpkg-shlibdeps works beside a source package.
        (Path(folder) / "debian").mkdir()
        (Path(folder) / "debian/control").write_text("Source: firstlight\n\nPackage: firstlight\nArchitecture: any\n")
        files = [f"-e{path}" for path in executables]
        said = run("dpkg-shlibdeps", "-O", *files, cwd=folder)
    return said.strip().removeprefix("shlibs:Depends=")


def control(package, deb, facts):
    depends = deb["depends"].replace("$auto", facts["libraries"])
    depends = ", ".join(part.strip() for part in depends.split(",") if part.strip())
    extended = deb["extended-description"].strip().splitlines()
    return "\n".join(
        [
            f"Package: {deb['name']}",
            f"Version: {facts['version']}",
            f"Architecture: {facts['architecture']}",
            f"Maintainer: {deb['maintainer']}",
            f"Installed-Size: {facts['kib']}",
            f"Depends: {depends}",
            f"Section: {deb['section']}",
            f"Priority: {deb['priority']}",
            f"Description: {package['description']}",
            *(f" {line}" for line in extended),
            "",
        ]
    )


def stage(options, deb, root):
    """Fills the tree of the package; its files."""
    files = []
    for pattern, target, mode in deb["assets"]:
        if options.binary and pattern == f"{BUILT}firstlight":
            found = [Path(options.binary)]
            target = target + "firstlight" if target.endswith("/") else target
        else:
            found = sources(pattern, options.repository, options.built)
        files += [place(source, target, mode, root) for source in found]
    for path in filter(is_executable, files):
        run("strip", "--strip-unneeded", "--remove-section=.comment", "--remove-section=.note", str(path))
    return files


def write_control(options, package, deb, root, files):
    folder = root / "DEBIAN"
    folder.mkdir()
    facts = {
        "version": options.version,
        "architecture": options.architecture,
        "kib": sum(path.stat().st_size for path in files) // 1024 + 1,
        "libraries": library_packages([path for path in files if is_executable(path)]),
    }
    (folder / "control").write_text(control(package, deb, facts))
    (folder / "conffiles").write_text("".join(f"{name}\n" for name in deb["conf-files"]))
    sums = (f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n" for path in files)
    (folder / "md5sums").write_text("".join(sums))
    for name in SCRIPTS:
        script = options.repository / deb["maintainer-scripts"] / name
        if script.exists():
            shutil.copy(script, folder / name)
            (folder / name).chmod(0o755)
    for path in folder.iterdir():
        if path.name not in SCRIPTS:
            path.chmod(0o644)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--built", type=Path, required=True, help="where cargo puts the profile's executable")
    parser.add_argument("--version", required=True)
    parser.add_argument("--architecture", required=True)
    parser.add_argument("--binary", help="instead of the one that was built")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    os.umask(0o022)
    package, deb = metadata(options.repository)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir(mode=0o755)
        files = stage(options, deb, root)
        write_control(options, package, deb, root, files)
        run("dpkg-deb", "--root-owner-group", "--build", str(root), str(options.output))


if __name__ == "__main__":
    main()
