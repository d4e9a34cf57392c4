"""The service manager: systemd, or whatever else has set NOTIFY_SOCKET, told how this process is."""

from __future__ import annotations

import contextlib
import os
import socket
import time

NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"


class ServiceManager:
    """Sends notifications; errors are ignored, since nothing here depends on them.

    Args:
        path: The manager's datagram socket; `@` begins an abstract name.
        watchdog: Seconds within which it wants to hear from this process again and again; None: it does not.
    """

    def __init__(self, path: str, watchdog: float | None) -> None:
        self._path = f"\0{path[1:]}" if path.startswith("@") else path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._ended = False
        self.watchdog = watchdog

    @staticmethod
    def of_environment() -> ServiceManager | None:
        """Return the one that has started this process; None: there is none.

        Its variables are taken out of the environment: what this process starts is another's business.
        """
        path, usec, pid = (os.environ.pop(name, "") for name in (NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID))
        if not path.startswith(("/", "@")):
            return None
        is_watched = usec.isdecimal() and int(usec) > 0 and pid in ("", str(os.getpid()))
        return ServiceManager(path, int(usec) / 1_000_000 if is_watched else None)

    def ready(self) -> None:
        """Say that this process is ready, for the first time or again after `reloading`."""
        if not self._ended:
            self._send("READY=1")

    def status(self, text: str) -> None:
        """Give the text that `systemctl status` shows."""
        self._send(f"STATUS={text.splitlines()[0] if text else ''}")

    def alive(self) -> None:
        """Say that this process is alive."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Say that this process reloads; `ready` ends that."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, seconds: float) -> None:
        """Say that this process stops, and how many seconds that may take from now on."""
        self._ended = True
        self._send(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def _send(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendto(text.encode(), self._path)
