"""Keys of a terminal, one at a time: its mode is set for that, and put back however the block ends."""

from __future__ import annotations

import asyncio
import os
import re
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

END = "end"
"""In place of a key: the terminal is gone."""
_KEY = re.compile(rb"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Z]|[^\x80-\xbf][\x80-\xbf]*")
_NAMES = {
    **{
        b"\x1b[" + letter: name
        for letter, name in ((b"A", "up"), (b"B", "down"), (b"H", "home"), (b"F", "end of list"))
    },
    **{
        b"\x1bO" + letter: name
        for letter, name in ((b"A", "up"), (b"B", "down"), (b"H", "home"), (b"F", "end of list"))
    },
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
    b"\x1b[Z": "back tab",
    b"\t": "tab",
    b"\x1b": "escape",
    b"\r": "enter",
    b"\n": "enter",
}


@contextmanager
def keys(file: int, on_key: Callable[[str], None]) -> Iterator[None]:
    """Call `on_key` with each key that is pressed, as its character or its name, until the block ends.

    Ctrl-C and Ctrl-Z are signals as usual. The terminal's mode is as before afterwards, whatever ends the block.

    Args:
        file: The terminal's file descriptor.
        on_key: Called on the running event loop, which the terminal is read by.
    """
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(file)

    def read() -> None:
        try:
            given = os.read(file, 1024)
        except OSError:  # it was hung up
            given = b""
        if not given:
            loop.remove_reader(file)
            on_key(END)
        for key in names(given):
            on_key(key)

    try:
        tty.setcbreak(file, termios.TCSADRAIN)
        loop.add_reader(file, read)
        yield
    finally:
        loop.remove_reader(file)
        put_back(file, before)


def put_back(file: int, mode: list[Any]) -> None:
    """Give a terminal a mode that it had; nothing happens if it is gone."""
    try:
        termios.tcsetattr(file, termios.TCSADRAIN, mode)
    except (termios.error, OSError):
        return


def names(given: bytes) -> list[str]:
    """Return the keys of what a terminal has sent at once."""
    return [_NAMES.get(key) or key.decode(errors="replace") for key in _KEY.findall(given)]
