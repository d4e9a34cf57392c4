"""The settings, with their limits and defaults."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from asyncjobs.settings.urls import safe_database_url
from asyncjobs.settings.values import (
    DatabaseURL,
    HttpAddress,
    KindPrefix,
    LimitName,
    LimitNumber,
    LogLevel,
    Module,
    OneQueue,
    Queue,
    QueueName,
    RecurringJob,
    RecurringName,
    Times,
    Zone,
    size,
    time,
    whole,
)


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pool(_Table):
    """Queues that share a number of slots."""

    queues: tuple[Queue, ...]
    """Names, patterns (`*`, `mail*`) and exclusions (`-bulk`), in priority order; with exclusions only, all others."""

    concurrency: Annotated[int, whole(1, 10_000)]
    """Jobs at once, in each process."""

    processes: Annotated[int, whole(1, 64)] = 1
    """How many processes run this pool."""

    order: Literal["strict", "weighted"] = "strict"
    """`strict`: nothing of a later queue starts while an earlier one has work. `weighted`: by `weights`."""

    weights: dict[str, Annotated[int, whole(1, 1_000_000)]] = Field(default={})
    """Shares by entry of `queues`; an entry that is not named has 1. With `order="weighted"` only."""

    aging: Annotated[float, time(1, 30 * 86_400)] | None = None
    """Seconds in which a waiting job gains one step of priority, so that a stream of urgent jobs does not keep it waiting
    for ever. None: priorities hold, however long a job waits."""

    @field_validator("queues")
    @classmethod
    def _queues_make_sense(cls, queues: tuple[str, ...]) -> tuple[str, ...]:
        if not queues:
            raise ValueError('an empty list is not allowed; name a queue, or "*" for all')
        for queue in queues:
            if queues.count(queue) > 1:
                raise ValueError(f'"{queue}" is listed twice; remove one')
            if f"-{queue}" in queues:
                raise ValueError(f'"{queue}" is both taken and left out; remove "{queue}" or "-{queue}"')
        return queues

    @field_validator("weights")
    @classmethod
    def _weights_have_queues(cls, weights: dict[str, int], info: ValidationInfo) -> dict[str, int]:
        if weights and info.data.get("order") == "strict":
            raise ValueError('weights have no effect with order = "strict"; set order = "weighted" or remove them')
        taken = [queue for queue in info.data.get("queues", weights) if not queue.startswith("-")]
        for queue in weights:
            if queue not in taken:
                names = ", ".join(f'"{name}"' for name in taken) or "none"
                raise ValueError(f'"{queue}" is no queue of this pool; weigh one of its queues: {names}')
        return weights


class QueueLimits(_Table):
    """The limits of one queue."""

    max_depth: Annotated[int, whole(1, 100_000_000)]
    """Ready jobs that the queue may hold, started ones not counted; `enqueue` of one more raises `QueueFull`."""


class Dispatcher(_Table):
    """How a worker gets its jobs."""

    polling_interval: Annotated[float, time(0.05, 60)] = 1.0
    """Seconds between two looks for jobs when no notice comes."""

    batch_size: Annotated[int, whole(1, 5_000)] = 500
    """Jobs claimed in one statement, at most."""


class Recurring(_Table):
    """A job that is enqueued by a schedule."""

    job: RecurringJob
    """The job's kind, such as "app.jobs.DailyReport"; its module is imported when a worker starts."""

    schedule: Times
    """Cron with five or six fields, "@daily" and the like, or "every 10 minutes"."""

    timezone: Zone = "UTC"
    """The time zone of `schedule`."""

    args: dict[str, Any] | list[Any] = Field(default={})
    """The job's arguments, by name or by position."""

    queue: OneQueue | None = None
    """None: the definition's."""

    priority: Annotated[int, whole(-32768, 32767)] | None = None
    """None: the definition's. Smaller runs first."""

    catch_up: Literal["none", "latest", "all"] = "latest"
    """Which times get a job although they passed while no worker was there: none, the latest, or all, 1,000 at most."""

    overlap: Literal["allow", "skip"] = "allow"
    """`skip`: nothing is enqueued while the job before is not final."""

    jitter: Annotated[float, time(0, 86_400)] = 0.0
    """Seconds at most by which a time is put off; always the same for one time of one schedule."""

    enabled: bool = True
    """False: the schedule is stored and shown, and enqueues nothing."""


class Settings(_Table):
    """All settings. Constructing one reads neither environment nor file: `load` does.

    `model_fields_set` names the fields that were given; others have their defaults.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    environment: str = "development"
    """The table of the config file that was laid over `[default]`."""

    source: Path | None = None
    """The config file that was read, if any."""

    imports: tuple[Module, ...] = ()
    """Modules that define jobs, imported when a worker starts."""

    kind_prefix: KindPrefix = ""
    """The beginning of every kind of this application in the database, such as "shop.". Applications that share a database
    need one each."""

    middleware: tuple[Module, ...] = ()
    """Objects around every job by name, the outermost first, such as "app.middleware.Timing"; a class is called."""

    database_url: DatabaseURL = Field(default="", repr=False)
    """Such as postgresql://user@host/database, with libpq's parameters; a password is safer in the variable. Empty: a
    private PostgreSQL of this project, in development and test only. Messages show `safe_database_url`."""

    database_connections: Annotated[int, whole(1, 1_000)] = 10
    """Connections that a client opens, at most."""

    pooler: Literal["auto", "session", "transaction"] = "auto"
    """The pooler before the database. `transaction`: one in transaction mode; it passes no notices, so workers and awaits
    poll. `session`: none, or one in session mode. `auto`: found out when connecting."""

    shutdown_timeout: Annotated[float, time(0, 3600)] = 25.0
    """Seconds that running jobs get to finish when the worker is asked to stop."""

    cleanup_timeout: Annotated[float, time(0, 3600)] = 5.0
    """Seconds that a cancelled job gets for its cleanup; 1.5 at most when its worker stops."""

    max_interruptions: Annotated[int, whole(1, 1_000)] = 10
    """Interruptions in a row, by a worker that stops or a database that is lost, that a job may have without recording any
    progress; with one more it fails."""

    loop_warning: Annotated[float, time(0, 60)] = 0.2
    """Seconds for which code may block the event loop before the log names it. 0: never."""

    loop_dead: Annotated[float, time(0, 86_400)] = 60.0
    """Seconds for which code may block the event loop before `/livez` fails, and systemd's watchdog is not fed. 0: never."""

    http: HttpAddress = ""
    """Where a worker answers `/livez`, `/readyz` and `/metrics`: "127.0.0.1:9000", or ":9000" for every address of this
    machine. Empty: nowhere. A supervisor of several processes answers for all of them."""

    retention: Annotated[float, time()] = 7 * 86400.0
    """Seconds that finished jobs are kept, and their results with them, to the end of the UTC day."""

    max_recorded: Annotated[int, size(1 << 20, 256 << 20)] = 64 << 20
    """Bytes at most of one job's recorded steps, with their results and cursors."""

    lease: Annotated[float, time(1, 3600)] = 30.0
    """Seconds after a worker's last beat until its jobs go to other workers."""

    version_grace: Annotated[float, time(0, 86_400)] = 600.0
    """Seconds for which a job waits for another worker when its arguments, which may be another version's, do not fit this
    code; then it fails. 0: at once. It should outlast a deploy."""

    isolate_suspects: bool = True
    """Whether jobs that have crashed twice run in processes of their own, without what the application opened at its start;
    else they run in the worker, one at a time."""

    dispatcher: Dispatcher = Dispatcher()
    """How a worker gets its jobs."""

    queues: dict[QueueName, QueueLimits] = Field(default={})
    """Limits of single queues, by name."""

    pools: tuple[Pool, ...] = (Pool(queues=("*",), concurrency=10),)
    """The pools, in priority order."""

    limits: dict[LimitName, LimitNumber] = Field(default={})
    """Jobs that may run at once, in place of the number in code: by kind or shared key, for all of its limits, or by one
    limit, such as "app.jobs.sync(account_id)". 0: nothing starts. Names with dots need quotes."""

    recurring: dict[RecurringName, Recurring] = Field(default={})
    """Schedules by a name of your choice."""

    log_level: LogLevel = "info"
    """The least severe lines that `asyncjobs run` writes."""

    log_format: Literal["text", "json", "none"] = "text"
    """The form of the lines that `asyncjobs run` writes to standard error. `none`: your own code sets up logging."""

    log_jobs: Literal["ends", "failures", "none"] = "ends"
    """The lines that a worker logs about jobs. `ends`: one at the end of each attempt, at most 200 a second for those that
    succeed. `failures`: none for those. `none`: none at all."""

    @field_validator("pools")
    @classmethod
    def _some_pool(cls, pools: tuple[Pool, ...]) -> tuple[Pool, ...]:
        if not pools:
            raise ValueError('without a pool nothing would run; add one with queues = ["*"] and concurrency = 10')
        return pools

    @property
    def has_config(self) -> bool:
        """Whether a configuration was given, so that stored limits and schedules that it does not name are to be removed."""
        return self.source is not None or bool(self.recurring) or bool(self.limits)

    @property
    def safe_database_url(self) -> str:
        """`database_url` for logs and messages: without passwords."""
        return safe_database_url(self.database_url)
