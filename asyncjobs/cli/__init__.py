"""The command line: ``asyncjobs …`` and ``python -m asyncjobs …``; one command, or one group of them, a file."""

from __future__ import annotations

from asyncjobs.cli.container_init import leave_orphans_to_this_process, open_missing_streams

__all__ = ["main"]


def main() -> None:
    """Run the command that `sys.argv` asks for, and end the process with its exit code."""
    open_missing_streams()
    leave_orphans_to_this_process()
    # Late: importing typer takes 0.2 s, and tools that look up entry points import this package too.
    from asyncjobs.cli.application import app

    app(prog_name="asyncjobs")
