"""`asyncjobs limits list|set`: the numbers of limits and rates, and who set them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from asyncjobs.checks import durations
from asyncjobs.cli import command_database
from asyncjobs.db import limiting
from asyncjobs.db.limiting import BY, LimitRow
from asyncjobs.definitions.order_keys import shown_key
from asyncjobs.exceptions import InvalidOption
from asyncjobs.settings import load
from asyncjobs.terminal import options, printing
from asyncjobs.terminal.exits import exit_codes

app = typer.Typer(no_args_is_help=True, help="Limits and rates.")


@app.command("list")
def list_limits(
    *, config: options.Config = None, env: options.Environment = None, as_json: options.Json = False
) -> None:
    """Show how many jobs of each limit run at once, as set by code, by config or by hand; and rates."""
    with exit_codes():
        settings = load(config, environment=env)

    async def read() -> list[LimitRow]:
        async with command_database.reader(settings) as connection:
            return await command_database.bounded(limiting.read_limits(connection))

    rows = command_database.finish(read)
    if as_json:
        printing.as_json([_values(row) for row in rows])
        return
    printing.table(
        ["limit", "at once", "says", "code", "config", "by hand", "rate"],
        [
            (
                shown_key(row.name),
                row.most,
                "" if row.most is None else BY[row.said_by],
                row.code,
                row.config,
                row.by_hand,
                _rate(row),
            )
            for row in rows
        ],
        empty="no limits: nothing was enqueued or run yet under one",
    )


@app.command("set")
def set_limit(
    *,
    key: Annotated[str, typer.Argument(help="A shared key, a kind, or a limit as `asyncjobs limits list` shows it.")],
    at_once: Annotated[
        str,
        typer.Argument(
            metavar="AT_ONCE",
            help="Jobs at once; 0: nothing starts; the word default: as in the configuration or code.",
        ),
    ],
    config: options.Config = None,
    env: options.Environment = None,
) -> None:
    """Set how many jobs run at once under a limit, in all workers from now on; running jobs go on."""
    with exit_codes():
        most = None if at_once == "default" else _number(at_once)

    async def write() -> None:
        async with command_database.CommandJobs(config=config, environment=env) as jobs:
            await jobs.set_limit(key, most)

    command_database.finish(write)
    print(printing.shown(f"{key}: {'what the configuration or the code says' if most is None else f'{most} at once'}"))


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidOption(f"AT_ONCE {text!r} is no number: give one from 0, or the word default") from None


def _rate(row: LimitRow) -> str:
    return "" if row.spacing is None else f"one in {durations.spell(row.spacing)}, {row.burst} at once after a pause"


def _values(row: LimitRow) -> dict[str, Any]:
    return {**row._asdict(), "name": shown_key(row.name), "most": row.most, "said_by": row.said_by}
