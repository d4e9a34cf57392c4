"""Commands in this process, for those that only print: to fork one takes 50 ms of a core more."""

from collections.abc import Mapping, Sequence

import typer.testing

from asyncjobs.cli.application import app
from tests.support import warm_command

typer.testing._get_command = warm_command.get_command


def run_here(words: Sequence[str], environment: Mapping[str, str | None] | None = None) -> typer.testing.Result:
    """Run `asyncjobs <words>`; how it ended and what it printed. What it raises that is no end is raised."""
    done = typer.testing.CliRunner().invoke(app, list(words), env=environment)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done
