"""A proxy in front of PostgreSQL that can freeze, cut, refuse, drop messages and lose replies while it runs."""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Callable
from typing import Self, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

from tests.support.faults import CutAfter, Direction, DropMessages, Fault, LoseReplies, Where
from tests.support.link import Link
from tests.support.namespaces import inside
from tests.support.processes import PATIENCE

AFault = TypeVar("AFault", bound=Fault)

TOO_MANY_CLIENTS = ("53300", "sorry, too many clients already")
STARTING_UP = ("57P03", "the database system is starting up")


def named(part: str) -> Callable[[str], bool]:
    """Choose the connections whose application_name contains *part*."""
    return lambda name: part in name


class Proxy:
    """Listens on 127.0.0.1, or another address, and speaks PostgreSQL's protocol both ways.

    Every fault takes `where`, a predicate on the application_name (see `named`); without it, it is for all connections,
    those to come included. `heal()` ends all of them.

    Args:
        upstream: A host, or the directory of a unix socket.
        upstream_port: The server's port; a part of the name of its unix socket, too.
        user: Goes into `url()`.
        password: Goes into `url()` as well, when it is given.
        database: What `url()` names unless it is asked for another.
        address: Where it listens.
        host: The network namespace that it listens in; None: the test's.

    Attributes:
        counts: How many of `connections`, `refused`, `cut`, `dropped`, `lost_replies`; messages handed on as `to_server`,
            `to_client` and by letter as `to_client:Z`, the first one as `to_server:startup`.
        faults: The armed faults on messages.
        delay: Seconds by which everything arrives later, each way.
    """

    def __init__(
        self,
        upstream: str,
        upstream_port: int = 5432,
        *,
        user: str = "postgres",
        password: str | None = None,
        database: str = "postgres",
        address: str = "127.0.0.1",
        host: str | None = None,
    ) -> None:
        self.delay = 0.0
        self._address = address
        self._host = host
        self.counts: Counter[str] = Counter()
        self.faults: list[Fault] = []
        self.port = 0
        self._upstream = (upstream, upstream_port)
        self._login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
        self._database = database
        self._links: dict[Link, asyncio.Task[None]] = {}
        self._frozen: list[Where] = []
        self._refusals: list[tuple[Where, tuple[str, str] | None]] = []
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()

    @classmethod
    def in_front_of(cls, url: str, **options: str) -> "Proxy":
        """For the server that a PostgreSQL URL names, `postgresql://user@/db?host=/socket/directory` included."""
        parts = urlsplit(url)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        host = parts.hostname or query.get("host", "127.0.0.1")
        port = parts.port or int(query.get("port", 5432))
        user = parts.username or query.get("user", "postgres")
        password = parts.password or query.get("password")
        return cls(host, port, user=user, password=password, database=parts.path.strip("/") or user, **options)

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._close()
        tasks = list(self._links.values())
        for link in list(self._links):
            link.cut()
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=5)
            for task in pending:
                task.cancel()

    def url(self, database: str = "") -> str:
        return f"postgresql://{self._login}@{self._address}:{self.port}/{database or self._database}"

    def names(self) -> list[str]:
        """The application_name of every live connection that has said it."""
        return [link.name for link in self._links if link.name is not None]

    def lead_to(self, upstream: str, upstream_port: int = 5432) -> None:
        """Have connections to come lead to another server, as a name does that has moved; the live ones stay."""
        self._upstream = (upstream, upstream_port)

    # The faults.

    def freeze(self, where: Where = None) -> None:
        """Let nothing pass, either way, and close nothing: a link that died without a word.

        Connections to come are accepted and then silent from the first byte. What was sent is held: after `thaw()` it
        arrives, as TCP would repeat it. A side that goes meanwhile is not missed by the other before that.
        """
        self._frozen.append(where)
        self._regate()

    def thaw(self) -> None:
        self._frozen.clear()
        self._regate()

    def cut(self, where: Where = None) -> int:
        """End the live connections with RST; how many they were."""
        chosen = [link for link in self._links if link.chosen_by(where)]
        for link in chosen:
            link.cut()
        return len(chosen)

    def refuse(self, where: Where = None, error: tuple[str, str] | None = None) -> None:
        """Take no new connections; the live ones stay.

        For all of them the port is closed (ECONNREFUSED). For chosen ones RST follows the startup packet, and so it is
        with `error`, an SQLSTATE and a text, which is what they are told.
        """
        if where is None and error is None:
            self._close()
        else:
            self._refusals.append((where, error))

    async def accept(self) -> None:
        """Take new connections again, on the same port."""
        self._refusals.clear()
        if self._server is None:
            await self._listen()

    def drop_messages(self, types: str, direction: Direction = "to_client", where: Where = None) -> DropMessages:
        """Swallow messages of these types: `drop_messages("A")` makes a LISTEN silently deaf."""
        return self._arm(DropMessages(types, direction, where))

    def hold_replies_after(
        self, statement: str | Callable[[str], bool] = "commit", *, times: int = 1, where: Where = None
    ) -> LoseReplies:
        """Lose the answer to the next *times* executions of a statement that was done.

        The statement reaches the server; its answer is swallowed until the server is ready for the next (so: after the
        commit), then the client gets RST.

        Args:
            statement: A part of the SQL text, in any case, or a predicate on it. Prepared statements count when they are
                executed, not when they are parsed. A single statement outside a transaction commits itself: name it.
            times: How often.
            where: Chooses the connections.
        """
        matches = statement if callable(statement) else lambda sql: statement.lower() in sql.lower()
        return self._arm(LoseReplies(matches, times, where))

    def cut_after(self, k: int, direction: Direction = "to_server", where: Where = None) -> CutAfter:
        """RST once the k-th message from now on (k from 1; a new connection's startup packet counts) was handed on.

        For a sweep: count with `counts[direction]` in a clean run; wait until `names()` is empty between two runs, since
        a client that goes says so with one message more; add `?sslmode=disable` to the url, or asyncpg, told to prefer
        TLS, quietly connects a second time.
        """
        return self._arm(CutAfter(k, direction, where))

    async def heal(self) -> None:
        """End every fault."""
        self.faults.clear()
        self.thaw()
        await self.accept()

    async def wait_until(self, condition: Callable[[], bool], timeout: float = PATIENCE) -> None:
        """Wait until *condition*, a predicate on `counts` or `names()`, holds. TimeoutError with the counts otherwise."""
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise TimeoutError(f"not within {timeout} s; counted so far: {dict(self.counts)}") from None

    # What the links ask.

    def count(self, what: str) -> None:
        self.counts[what] += 1
        self._changed.set()

    def introduced(self, link: Link) -> None:
        """The link's name is known now; it may be one that is frozen."""
        self._regate()
        self._changed.set()

    def refusal(self, link: Link) -> tuple[str, str] | tuple[()] | None:
        """None: welcome. Empty: RST. Else the error to tell."""
        for where, error in self._refusals:
            if link.chosen_by(where):
                return error or ()
        return None

    async def open_upstream(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self._upstream
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    def _arm(self, fault: AFault) -> AFault:
        self.faults.append(fault)
        return fault

    def _regate(self) -> None:
        for link in self._links:
            frozen = any(link.chosen_by(where) for where in self._frozen) and not link.is_cut
            link.gate.clear() if frozen else link.gate.set()

    async def _listen(self) -> None:
        with inside(self._host):
            listener = socket.create_server(
                (self._address, self.port), backlog=200
            )  # with SO_REUSEADDR: the same port again
        # Inherited by what is accepted; asyncio sets it for sockets only that were made with their protocol's number.
        # Without it each answer waits 40 ms for an acknowledgement that the kernel puts off.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = listener.getsockname()[1]
        self._server = await asyncio.start_server(self._serve, sock=listener)

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(self, reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._links[link] = task
        self.count("connections")
        self._regate()
        with contextlib.suppress(asyncio.CancelledError):
            try:
                await link.run()
            finally:
                del self._links[link]
                self._changed.set()
