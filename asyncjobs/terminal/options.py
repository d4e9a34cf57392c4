"""Options that several commands share, and the settings made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asyncjobs import logs
from asyncjobs.settings import Settings

Config = Annotated[Path | None, typer.Option("--config", "-c", help="The config.toml; default: the one here.")]
Environment = Annotated[
    str | None, typer.Option("--env", help="Its table to use, such as production; default: ASYNCJOBS_ENV.")
]
LogLevel = Annotated[str | None, typer.Option(help="debug, info, warning, error or critical.")]
LogFormat = Annotated[
    str | None,
    typer.Option(help="text, json, or none: logging is yours to set up; default: text on a terminal, else json."),
]
Modules = Annotated[list[str] | None, typer.Argument(metavar="[MODULE]...", help="Modules that define jobs.")]
Tag = Annotated[list[str] | None, typer.Option(help="Only with this tag; may be repeated: all of them.")]
Meta = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="Only with this in their meta; may be repeated: all of them."),
]
Arg = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="Only with this argument; may be repeated: all of them."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def configure_logs(settings: Settings) -> None:
    """Set up logging by the settings."""
    is_said = "log_format" in settings.model_fields_set
    logs.configure(settings.log_level, settings.log_format if is_said else None)
