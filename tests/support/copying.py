"""A PostgreSQL whose initdb copies what the true one has made once for a test run, in a tenth of its time."""

import asyncio
import subprocess
from pathlib import Path

from asyncjobs.embedded import EmbeddedPostgres
from asyncjobs.embedded.cluster import Cluster
from tests.support.directories import made_once

INITDB = """\
#!/bin/sh
umask 077
while [ "$1" != -D ]; do shift; done
for copy in "{copies}"/*; do
    [ -L "$copy/of" ] && [ ! -e "$copy/of" ] && rm -rf "$copy"
done
copy=$(mktemp -d -p "{copies}")
ln -s "${{2%/*}}" "$copy/of"
for each in "{data}"/*; do
    case "$each" in
        */base | */pg_wal) cp -R "$each" "$copy" ;;
        *) cp -R "$each" "$2" ;;
    esac
done
exec ln -s "$copy"/base "$copy"/pg_wal "$2"
"""
"""What is large stays beside it, in memory: to copy it to a disk costs half a second of a core and more."""


def binaries() -> Path:
    """Its programs, for ASYNCJOBS_PG_BIN."""
    return made_once("postgres", _make) / "bin"


def data() -> Path:
    """A data directory that everybody may read, as it is once the server was started and stopped."""
    return made_once("postgres", _make) / "made" / "data"


def _make(directory: Path, final: Path) -> None:
    made = Cluster(directory / "made", temporary=False)
    with asyncio.Runner() as runner:
        postgres = EmbeddedPostgres(made.directory, fsync=False)
        runner.run(postgres.start())
        runner.run(postgres.stop())
    copies, programs = directory / "copies", directory / "bin"
    subprocess.run(["chmod", "-R", "a+rX", directory], check=True)
    copies.mkdir()
    copies.chmod(0o1777)  # under root initdb is another user's
    programs.mkdir()
    true = Path((made.data / "postmaster.opts").read_text().partition(' "')[0])
    (programs / "postgres").symlink_to(true)
    (programs / "initdb").write_text(INITDB.format(data=final / "made" / "data", copies=final / "copies"))
    (programs / "initdb").chmod(0o755)
