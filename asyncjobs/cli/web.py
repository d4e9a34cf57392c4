"""`asyncjobs web`: the dashboard, by itself."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from asyncjobs.cli import command_database
from asyncjobs.modules.importing import import_object, put_working_directory_first
from asyncjobs.settings import load
from asyncjobs.terminal import options
from asyncjobs.terminal.exits import USAGE, exit_codes, fail

HOST, PORT = "127.0.0.1", 8080


def web(
    *,
    host: Annotated[str, typer.Option(help="The address to listen on; others than loopback need --auth.")] = HOST,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0: any that is free.")] = PORT,
    read_only: Annotated[bool, typer.Option("--read-only", help="Nothing can be changed.")] = False,
    auth: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A function that says who may come in, such as app.web.allow; see the docs."),
    ] = None,
    config: options.Config = None,
    env: options.Environment = None,
) -> None:
    """Show the dashboard in a browser: what waits, fails and runs, and what can be done about it.

    Without --auth it answers to browsers on this machine alone.
    """
    with exit_codes():
        from asyncjobs.web.missing import check_extra

        check_extra()
        load(config, environment=env)
        put_working_directory_first()
        allow = None if auth is None else import_object(auth)
    if allow is None and not is_loopback(host):
        fail(
            USAGE,
            f"--host {host} can be reached from elsewhere, and nothing says who may come in: give --auth, or leave --host "
            f"out and come through `ssh -L {port}:127.0.0.1:{port}`",
        )
    command_database.finish(lambda: _until_told(_serve(host, port, config, env, auth=allow, read_only=read_only)))


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it is over, or a signal ends it in order: a private PostgreSQL is stopped."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _serve(host: str, port: int, config: Path | None, env: str | None, *, auth: Any, read_only: bool) -> None:
    from asyncjobs.web.serving import serve

    async with command_database.CommandJobs(config=config, environment=env) as jobs:
        application = jobs.dashboard(auth=auth, read_only=read_only)
        await serve(application, host=host, port=port, on_start=_say)


def _say(url: str) -> None:
    print(f"dashboard at {url} (Ctrl-C ends it)", flush=True)
