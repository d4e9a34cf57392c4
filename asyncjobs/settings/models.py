"""The settings and what each may be."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from asyncjobs.settings.urls import safe_database_url
from asyncjobs.settings.values import (
    DatabaseURL,
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
    """Queues that are worked together, and how many jobs of them run at once."""

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
    """What holds of one queue."""

    max_depth: Annotated[int, whole(1, 100_000_000)]
    """Ready jobs that the queue may hold, started ones not counted; `enqueue` of one more raises `QueueFull`."""


class Dispatcher(_Table):
    """How a worker gets its jobs."""

    polling_interval: Annotated[float, time(0.05, 60)] = 1.0
    """Seconds between two looks for jobs when no notice comes."""

    batch_size: Annotated[int, whole(1, 5_000)] = 500
    """Jobs claimed in one statement, at most."""


class Recurring(_Table):
    """A job that is enqueued again and again."""

    job: RecurringJob
    """The job's kind, such as "app.jobs.DailyReport"; its module is imported when a worker starts."""

    schedule: Times
    """Cron with five or six fields, "@daily" and the like, or "every 10 minutes"."""

    timezone: Zone = "UTC"
    """The time zone that `schedule` is read in."""

    args: dict[str, Any] | list[Any] = Field(default={})
    """The job's arguments, by name or by position."""

    queue: OneQueue | None = None
    """None: that of its definition."""

    priority: Annotated[int, whole(-32768, 32767)] | None = None
    """None: that of its definition. Smaller runs first."""

    catch_up: Literal["none", "latest", "all"] = "latest"
    """Which times are made up for that passed while no worker was there: none, the latest, or all, 1,000 at most."""

    overlap: Literal["allow", "skip"] = "allow"
    """`skip`: nothing is enqueued while the job before is not final."""

    jitter: Annotated[float, time(0, 86_400)] = 0.0
    """Seconds by which a time is put off, at most; the same each time it is computed."""

    enabled: bool = True
    """False: it is stored, shown, and never enqueued."""


class Settings(BaseSettings):
    """All settings. Constructing one reads neither environment nor file: `load` does.

    `model_fields_set` names the fields that were given; the others have their defaults.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        env_prefix="ASYNCJOBS_",
        env_nested_delimiter="__",
    )

    environment: str = "development"
    """The table of the config file that was laid over `[default]`."""

    source: Path | None = None
    """The config file that was read, if any."""

    imports: tuple[Module, ...] = ()
    """Modules that define jobs, imported when a worker starts."""

    kind_prefix: KindPrefix = ""
    """What the name of every kind of this application begins with in the database, such as "shop.". Applications that share
    a database need one each."""

    middleware: tuple[Module, ...] = ()
    """Objects around every job by name, the outermost first, such as "app.middleware.Timing"; a class is called."""

    database_url: DatabaseURL = Field(default="", repr=False)
    """Such as postgresql://user@host/database, with libpq's parameters; a password is better kept in the variable. Empty: a
    private PostgreSQL of this project, in development and test only. Messages show `safe_database_url`."""

    database_connections: Annotated[int, whole(1, 1_000)] = 10
    """Connections that a client opens, at most."""

    pooler: Literal["auto", "session", "transaction"] = "auto"
    """What stands before the database. `transaction`: a pooler in transaction mode: workers and awaits poll, for want of
    notices. `session`: no pooler, or one in session mode. `auto`: found out when connecting."""

    shutdown_timeout: Annotated[float, time(0, 3600)] = 25.0
    """Seconds that running jobs get to finish when the worker is asked to stop."""

    cleanup_timeout: Annotated[float, time(0, 3600)] = 5.0
    """Seconds that a cancelled job gets for its cleanup; 1.5 at most when its worker stops."""

    max_interruptions: Annotated[int, whole(1, 1_000)] = 10
    """Times in a row that a job may be interrupted, by a worker that stops or a database that is lost, without recording any
    progress; at one more it has failed."""

    loop_warning: Annotated[float, time(0, 60)] = 0.2
    """Seconds for which something may block the event loop before the log names it. 0: never."""

    retention: Annotated[float, time()] = 7 * 86400.0
    """Seconds that finished jobs are kept, and their results with them, to the end of the UTC day."""

    max_recorded: Annotated[int, size(1 << 20, 256 << 20)] = 64 << 20
    """Bytes that may be recorded of one job's steps, their results and cursors."""

    lease: Annotated[float, time(1, 3600)] = 30.0
    """Seconds after its last sign of life until a worker's jobs go to others."""

    version_grace: Annotated[float, time(0, 86_400)] = 600.0
    """Seconds for which a job waits for another worker where this code does not take its arguments, which may be another
    version's; then it fails. 0: at once. It should outlast a deploy."""

    isolate_suspects: bool = True
    """Whether jobs that have crashed twice run in processes of their own, without what the application opened at its start;
    else they run in the worker, one at a time."""

    dispatcher: Dispatcher = Dispatcher()
    """How a worker gets its jobs."""

    queues: dict[QueueName, QueueLimits] = Field(default={})
    """What holds of single queues, by name."""

    pools: tuple[Pool, ...] = (Pool(queues=("*",), concurrency=10),)
    """The pools, in priority order."""

    limits: dict[LimitName, LimitNumber] = Field(default={})
    """How many jobs run at once, in place of what the code says: by kind or shared key, which means all its limits, or by
    one limit, such as "app.jobs.sync(account_id)". 0: nothing starts. Names with dots stand in quotes."""

    recurring: dict[RecurringName, Recurring] = Field(default={})
    """Schedules by a name of your choice."""

    log_level: LogLevel = "info"
    """The least severe lines that `asyncjobs run` writes."""

    log_format: Literal["text", "json", "none"] = "text"
    """How `asyncjobs run` writes its lines, to standard error. `none`: it sets up no logging; your own code does."""

    @field_validator("pools")
    @classmethod
    def _some_pool(cls, pools: tuple[Pool, ...]) -> tuple[Pool, ...]:
        if not pools:
            raise ValueError('without a pool nothing would run; add one with queues = ["*"] and concurrency = 10')
        return pools

    @property
    def has_config(self) -> bool:
        """Whether a configuration was given, so that what it does not name of limits and what recurs is meant to be gone."""
        return self.source is not None or bool(self.recurring) or bool(self.limits)

    @property
    def safe_database_url(self) -> str:
        """`database_url` for logs and messages: without passwords."""
        return safe_database_url(self.database_url)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        *_others: PydanticBaseSettingsSource,
        **_by_name: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is given: `load` runs the other sources itself, to know where each value came from."""
        return (init_settings,)
