"""`asyncjobs db …`: the schema, the database's URL, psql."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

import typer

from asyncjobs import db as db_room
from asyncjobs.checks import durations
from asyncjobs.cli import command_database
from asyncjobs.cli.db_script import PSQL_STOPS, script
from asyncjobs.db import checking, migrating, migration_files
from asyncjobs.db.connecting import connect
from asyncjobs.db.errors import translating
from asyncjobs.embedded import EmbeddedPostgres
from asyncjobs.exceptions import SchemaMismatch
from asyncjobs.opening import private_directory
from asyncjobs.settings import load
from asyncjobs.settings.urls import safe_database_url
from asyncjobs.terminal import options, printing
from asyncjobs.terminal.exits import FAILED, OK, UNHEALTHY, USAGE, exit_codes, fail

app = typer.Typer(no_args_is_help=True, help="The schema, the database's URL, psql.")

ROLES = Path(db_room.__file__).parent / "roles.sql"


@app.command()
def migrate(
    *,
    config: options.Config = None,
    env: options.Environment = None,
    wait: Annotated[
        str, typer.Option(metavar="TIME", help="How long to wait for locks that others hold, such as 5m.")
    ] = durations.spell(migrating.WAIT),
    as_json: options.Json = False,
) -> None:
    """Bring the schema up to date; do nothing when it is."""
    with exit_codes():
        settings = load(config, environment=env)
    try:
        seconds = durations.seconds(wait, name="--wait")
    except ValueError as error:
        fail(USAGE, str(error))

    async def apply() -> list[migration_files.Migration]:
        async with command_database.server_url(settings) as url:
            connection = await connect(url, name="asyncjobs migrate")
            try:
                with translating():
                    return await migrating.migrate(connection, wait=seconds, on_wait=partial(typer.echo, err=True))
            finally:
                connection.terminate()

    applied = command_database.finish(apply)
    if as_json:
        printing.as_json([{"number": made.number, "name": made.name} for made in applied])
        return
    for made in applied:
        print(f"applied {made}")
    if not applied:
        print(f"nothing to apply: the schema is at migration {migration_files.known()[-1].number}")


@app.command()
def status(*, config: options.Config = None, env: options.Environment = None, as_json: options.Json = False) -> None:
    """Show which migrations are applied, and where a private database is kept; exit 3 unless the schema is up to date."""
    with exit_codes():
        settings = load(config, environment=env)

    async def read() -> tuple[dict[int, migration_files.Applied], str | None]:
        async with command_database.server_url(settings) as url:
            connection = await connect(url, name="asyncjobs cli")
            try:
                with translating():
                    applied = await migration_files.applied(connection)
                    try:
                        await checking.check(connection)
                    except SchemaMismatch as error:
                        return applied, str(error)
                    return applied, None
            finally:
                connection.terminate()

    applied, problem = command_database.finish(read)
    directory = private_directory(settings)
    rows = [
        {"number": known.number, "name": known.name, "applied": known.number in applied}
        for known in (*migration_files.known(), migration_files.functions())
    ]
    if as_json:
        printing.as_json({"current": problem is None, "problem": problem, "private_in": directory, "migrations": rows})
    else:
        printing.table(
            ["number", "name", "applied"],
            [[f"{row['number']:04d}", row["name"], "yes" if row["applied"] else "no"] for row in rows],
            empty="",
        )
        print(problem or "the schema is current")
        if directory is not None:
            print(command_database.private_hint(directory))
    raise typer.Exit(UNHEALTHY if problem else OK)


@app.command()
def sql(
    *,
    roles: Annotated[bool, typer.Option("--roles", help="Print the roles and grants instead, for psql.")] = False,
    after: Annotated[
        int | None,
        typer.Option("--from", metavar="N", min=0, help="Only the migrations after number N, and the functions."),
    ] = None,
    psql: Annotated[bool, typer.Option("--psql", help="Write the script for psql, with its own commands.")] = False,
) -> None:
    """Print the schema as one statement of plain SQL, for your own migration tool.

    It applies what is missing, records it as `db migrate` does, and may be run again.
    """
    newest = migration_files.known()[-1].number
    if roles and (psql or after is not None):
        fail(USAGE, "--roles prints another script, for psql: give it without --from and --psql")
    if after is not None and after > newest:
        fail(USAGE, f"--from {after}: the newest migration of this version is {newest}")
    print(PSQL_STOPS + ROLES.read_text(encoding="utf-8") if roles else script(after=after or 0, psql=psql), end="")


@app.command()
def url(
    *,
    config: options.Config = None,
    env: options.Environment = None,
    show_password: Annotated[bool, typer.Option("--show-password", help="Print the password, too.")] = False,
) -> None:
    """Print the database's URL, without its password unless that is asked for."""
    with exit_codes():
        settings = load(config, environment=env)
    if settings.database_url:
        print(settings.database_url if show_password else safe_database_url(settings.database_url))
        return

    async def of_embedded() -> str:
        async with command_database.server_url(settings) as found:
            return found

    print(command_database.finish(of_embedded))
    typer.echo("this embedded server runs only while something uses it, such as `asyncjobs run` or `db psql`", err=True)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(
    context: typer.Context,
    *,
    config: Annotated[Path | None, typer.Option("--config", help="The config.toml; default: the one here.")] = None,
    env: options.Environment = None,
) -> None:
    """Open psql on the database.

    Words after -- go to psql, as in `asyncjobs db psql -- -c 'select 1'`, and so do options that are not listed here.
    """
    with exit_codes():
        settings = load(config, environment=env)

    async def run() -> int:
        directory = private_directory(settings)
        if directory is None:
            return open_psql(settings.database_url, None, context.args)
        async with EmbeddedPostgres(directory) as server:
            return open_psql(server.url(), server.bin_directory, context.args)

    raise typer.Exit(command_database.finish(run))


def open_psql(found: str, programs: Path | None, words: list[str]) -> int:
    """Run psql to its end; return its exit code. The event loop is blocked meanwhile, and Ctrl-C goes to psql."""
    program = command_database.psql_program(programs)
    if program is None:
        fail(FAILED, "psql was not found: install postgresql-client, or set ASYNCJOBS_PG_BIN to where it is")
    place, password = without_password(found)
    environment = {**os.environ, **({"PGPASSWORD": password} if password else {})}
    interrupt = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run([program, place, *words], env=environment).returncode
    finally:
        signal.signal(signal.SIGINT, interrupt)


def without_password(found: str) -> tuple[str, str | None]:
    """Return a URL without its password, and the password: every user of a machine can read the words of a command."""
    # The text is cut, not rebuilt: an empty host, the order of parameters and a + in a value have a meaning for libpq.
    scheme, separator, rest = found.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    login, at, hosts = authority.rpartition("@")
    user, _, password = login.partition(":")
    path, mark, query = rest[len(authority) :].partition("?")
    kept = []
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        if unquote(name) == "password":
            password = value
        elif unquote(name) == "sslpassword":
            fail(
                USAGE,
                "database_url has sslpassword, which psql takes only as an argument, readable by all users of this machine: "
                "use a key without one, or give psql a service file of your own",
            )
        else:
            kept.append(pair)
    place = f"{scheme}{separator}{user}{at}{hosts}{path}{mark if kept else ''}{'&'.join(kept)}"
    return place, unquote(password) or None
