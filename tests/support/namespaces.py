"""Two hosts on one machine: network namespaces with a link of their own between them. Root's on Linux, with iproute2."""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000
NETWORK = "192.0.2"
"""Reserved for examples: nobody's, and of nobody's use outside these namespaces."""


class TwoHosts:
    """Made by `two_hosts`. A host is the name of its namespace.

    Attributes:
        near: The host with the database.
        near_address: Where the far host finds it.
        far: The other one.
    """

    near_address = f"{NETWORK}.1"
    far_address = f"{NETWORK}.2"

    def __init__(self, number: int) -> None:
        self.near, self.far = f"asyncjobs-{number}-near", f"asyncjobs-{number}-far"
        self._near_end, self._far_end = f"aj{number}n", f"aj{number}f"

    def link(self, state: str) -> None:
        """Set the far end of the link `down` or `up`."""
        ip("-n", self.far, "link", "set", self._far_end, state)

    def _make(self, undo: ExitStack) -> None:
        for host in (self.near, self.far):
            ip("netns", "add", host)
            undo.callback(ip, "netns", "delete", host)
        ip("link", "add", self._near_end, "netns", self.near, "type", "veth",
           "peer", "name", self._far_end, "netns", self.far)  # fmt: skip
        # A namespace outlives its name for as long as a process is in it, and so would the link.
        undo.callback(ip, "-n", self.near, "link", "delete", self._near_end)
        for host, end, address in (
            (self.near, self._near_end, self.near_address),
            (self.far, self._far_end, self.far_address),
        ):
            ip("-n", host, "address", "add", f"{address}/24", "dev", end)
            ip("-n", host, "link", "set", "lo", "up")
            ip("-n", host, "link", "set", end, "up")


def ip(*words: str) -> None:
    """Run `ip`. RuntimeError with what it said when it fails."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def why_not() -> str | None:
    """Why there can be no two hosts here; None: there can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    if shutil.which("ip") is None:
        return "there is no `ip` here: install iproute2"
    probe = f"asyncjobs-{os.getpid()}-probe"
    try:
        ip("netns", "add", probe)
        ip("netns", "delete", probe)
    except RuntimeError as error:
        return str(error)
    return None


@contextmanager
def two_hosts() -> Iterator[TwoHosts]:
    """Two hosts with a link that is up; at the end nothing is left of them, whatever happened."""
    hosts = TwoHosts(os.getpid())
    with ExitStack() as undo:
        hosts._make(undo)
        yield hosts


@contextmanager
def inside(host: str | None) -> Iterator[None]:
    """Have what is begun in this block be on a host: a process, a socket. Nothing is awaited in it. None: here."""
    if host is None:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as here, Path("/run/netns", host).open() as there:
        _enter(libc, there.fileno())
        try:
            yield
        finally:
            _enter(libc, here.fileno())


def _enter(libc: ctypes.CDLL, namespace: int) -> None:
    if libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
