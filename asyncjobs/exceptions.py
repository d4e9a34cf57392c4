"""Every error that asyncjobs raises.

Split by what the caller can do about it::

    AsyncJobsError
    ├── InvalidDefinition (TypeError)       fix the job's definition
    ├── InvalidStep (RuntimeError)          fix the order, the names or the nesting of the job's steps; never retried
    ├── InvalidSettings (ValueError)        fix config.toml, the environment or the arguments
    ├── InvalidOption (ValueError)          fix the arguments of set(), enqueue(), result() …
    │   ├── InvalidConnection               ... the object given as connection=
    │   ├── InvalidSchedule                 ... the schedule of a job
    │   ├── AwaitCycle                      ... the job that is awaited, which waits for the one that awaits it
    │   └── InvalidCall (TypeError)         ... an option that does not exist, or one by position
    ├── NotAJob (TypeError, AttributeError) a definition was used as a job: call it with the job's arguments first
    ├── InvalidArguments (ValueError)       fix the job's arguments
    │   ├── OtherVersion                    ... or deploy the code that takes them: they may be another version's
    │   └── UnstorableResult                ... the result: the work is done, so it is not done again
    ├── DeserializationError                stored arguments could not be turned into objects; may pass later
    │   └── RecordNotFound (LookupError)    the record they refer to is gone
    ├── NotOpen (RuntimeError)              open an AsyncJobs first
    ├── InsideEventLoop (RuntimeError)      await instead of blocking the loop's thread
    ├── AlreadyOpen (RuntimeError)          one AsyncJobs is opened once at a time
    ├── NotRunning (RuntimeError)           only inside a job
    ├── NotEnqueued (RuntimeError)          enqueue() or perform_now() first
    ├── AlreadyEnqueued (RuntimeError)      a change after enqueue()
    ├── NotUnique                           another job has the unique key; nothing was enqueued
    ├── QueueFull                           the queue has as many jobs as it may hold; nothing was enqueued
    ├── BatchNotFound (LookupError)         no such batch: rolled back, over long ago, or never made
    ├── BatchOver                           nothing can be added to a batch that has succeeded
    ├── JobNotFound (LookupError)           no such job: rolled back, past retention, or never made
    ├── KindMismatch (TypeError)            the job is of another kind
    ├── JobError                            an awaited job ended without success
    │   ├── JobFailed
    │   ├── JobDiscarded
    │   └── JobCancelled
    ├── EnqueueOutcomeUnknown               the database's answer was lost; enqueueing again is safe
    ├── LeaseLost                           this worker's right to the job is gone; nothing more may be written
    ├── JobExpired                          stored with a job that was not started within its expires_in
    ├── JobCrashed                          stored with a job whose process died while it ran
    ├── JobInterrupted                      stored with a job that was interrupted again and again without progress
    └── DatabaseError                       the driver's errors, translated once; the cause is attached
        ├── DatabaseUnavailable             unreachable, restarting, too slow: safe to repeat
        ├── PermissionDenied                the role lacks a right
        └── SchemaMismatch                  the schema is missing, older or newer; the message has the command

`JobNeverEnqueued` and `AssignmentNotSaved` (RuntimeWarning) are warnings, and shown as Python's warning filters say.

The signals that a job raises to say how its attempt ends (`Retry`, `Snooze`, `Discard`, `Cancel`) are no errors: see
`failing.signals`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID


class JobNeverEnqueued(RuntimeWarning):
    """A job was made and dropped: neither enqueued, performed nor given to another call of asyncjobs."""


class AssignmentNotSaved(RuntimeWarning):
    """A step assigned to an attribute of its job that is no `attribute()`, and so is lost when the job goes on elsewhere."""


def _made_again(kind: type[AsyncJobsError], arguments: dict[str, Any]) -> AsyncJobsError:
    return kind(**arguments)


class AsyncJobsError(Exception):
    """Base of every error of asyncjobs."""

    _recorded = False
    """Whether it is recorded and raised again on every attempt of the job, so that `retry_on` does not apply."""


class InvalidDefinition(AsyncJobsError, TypeError):
    """A job definition that cannot work; raised where it is made."""


class InvalidStep(AsyncJobsError, RuntimeError):
    """A job's steps are run twice, nested, at once or in another order than recorded, or a cursor goes back.

    The job fails, and no declaration is asked: the same code would fail again.
    """


class InvalidSettings(AsyncJobsError, ValueError):
    """Settings that cannot be used; lists every problem at once.

    Attributes:
        problems: One sentence a problem: its place, what is wrong, the remedy.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class InvalidOption(AsyncJobsError, ValueError):
    """An option outside its limits; the message names the option, its limit and the remedy."""


class InvalidConnection(InvalidOption):
    """`connection=` got an object that cannot be used to enqueue: of another type, closed, or in a failed transaction."""


class InvalidSchedule(InvalidOption):
    """A schedule cannot be read, or never happens, or its time zone is not known."""


class InvalidCall(InvalidOption, TypeError):
    """A call has an option or argument that does not exist; the message says what to write."""


class NotAJob(AsyncJobsError, TypeError, AttributeError):
    """A definition was used as if it were a job; the message says how to make a job of it."""


class AwaitCycle(InvalidOption):
    """A job awaits itself, or jobs await each other, so that none of them can ever go on.

    Raised in one of them, about a second after the last of them began to wait; the others go on with its failure.

    Attributes:
        way: Ids and kinds of the jobs, each of which awaits the next, and the last one the first.
        what: What a job that awaits itself awaits: itself, or a batch or chain of its own.
    """

    _recorded = True

    def __init__(self, way: Sequence[tuple[UUID, str]], what: str = "itself") -> None:
        self.way = list(way)
        self.what = what
        if len(self.way) == 1:
            said = f"job {self.way[0][0]} awaits {what} and would wait for ever"
        else:
            names = [f"{kind} {job_id}" for job_id, kind in [*self.way, self.way[0]]]
            said = f"jobs await each other and would wait for ever: {' awaits '.join(names)}"
        super().__init__(f"{said}; await it with a timeout, from outside, or not at all")

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (type(self), {"way": self.way, "what": self.what})


class InvalidArguments(AsyncJobsError, ValueError):
    """Arguments that do not fit the job's annotations, or that cannot be stored as JSON.

    Attributes:
        kind: The job's kind.
        problems: One `(field, fact and remedy)` pair a problem.
    """

    def __init__(self, kind: str, problems: list[tuple[str, str]], what: str = "arguments") -> None:
        self.kind = kind
        self.problems = problems
        super().__init__(kind, problems, what)  # the arguments, so that it can be pickled

    def __str__(self) -> str:
        kind, problems, what = self.args
        return f"{kind}: invalid {what}: " + "; ".join(f"{field}: {text}" for field, text in problems)


class OtherVersion(InvalidArguments):
    """Stored arguments with an unknown name, or without a required one: another version of the code may take them."""

    @property
    def facts(self) -> str:
        """The problems, as one text."""
        return "; ".join(f"{field}: {fact}" for field, fact in self.problems)


class UnstorableResult(InvalidArguments):
    """A job's result does not fit its annotation or cannot be stored; the job has failed and is never retried."""


class DeserializationError(AsyncJobsError):
    """A stored reference could not be loaded, for a reason that may pass."""


class RecordNotFound(DeserializationError, LookupError):
    """The record that a stored reference names does not exist any more."""


class NotOpen(AsyncJobsError, RuntimeError):
    """No AsyncJobs is open in this process, or the one used is closed."""


class InsideEventLoop(AsyncJobsError, RuntimeError):
    """A call that blocks its thread (`blocking()`, names that end in `_from_thread`) was made in a thread with a loop."""


class AlreadyOpen(AsyncJobsError, RuntimeError):
    """This AsyncJobs is open already."""


class NotRunning(AsyncJobsError, RuntimeError):
    """A call that only works inside a running job was made outside."""


class NotEnqueued(AsyncJobsError, RuntimeError):
    """The job has no row yet, so it cannot be awaited or asked about."""


class AlreadyEnqueued(AsyncJobsError, RuntimeError):
    """`set` after `enqueue`, or a running job's `enqueue` of itself: the row exists already."""


class NotUnique(AsyncJobsError):
    """Another job has the unique key of a job that was to be enqueued; nothing was enqueued.

    Attributes:
        kind: Of both jobs.
        job_id: Of the job that has the key.
    """

    def __init__(
        self, kind: str, job_id: UUID, remedy: str = "wait for that one, or give on_conflict='skip' or 'replace'"
    ) -> None:
        self.kind = kind
        self.job_id = job_id
        self._remedy = remedy
        super().__init__(f"{kind}: job {job_id} has the same unique key: {remedy}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.kind, self.job_id, self._remedy)


class QueueFull(AsyncJobsError):
    """A queue holds as many ready jobs as its `max_depth` allows; the job was not enqueued.

    Attributes:
        queue: Its name.
        depth: Jobs that it holds; counted up to a thousand beyond the limit.
        limit: Its `max_depth`.
        wanted: Jobs that needed room at once: all of a batch as far as it was read, of which none is stored.
    """

    def __init__(self, queue: str, depth: int, limit: int, wanted: int = 1) -> None:
        self.queue = queue
        self.depth = depth
        self.limit = limit
        self.wanted = wanted
        room = "" if wanted == 1 else f": there is room for {max(limit - depth, 0)}, and not for {wanted}"
        super().__init__(
            f"queue {queue} holds {depth} ready jobs, and its max_depth is {limit}{room}: enqueue again later, when workers "
            "have taken some, start more workers, or raise max_depth"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.queue, self.depth, self.limit, self.wanted)


class JobNotFound(AsyncJobsError, LookupError):
    """No row with this id can be seen: rolled back, not committed yet, past its retention, or never made."""

    def __init__(self, job_id: UUID) -> None:
        self.job_id = job_id
        super().__init__(
            f"no job {job_id} can be seen: its transaction was rolled back or is still open, "
            "or it finished longer ago than its retention keeps it"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (type(self), {"job_id": self.job_id})


class BatchNotFound(AsyncJobsError, LookupError):
    """No batch with this id can be seen: rolled back, not committed yet, over for long, or never made."""

    def __init__(self, batch_id: UUID) -> None:
        self.batch_id = batch_id
        super().__init__(
            f"no batch {batch_id} can be seen: its transaction was rolled back or is still open, "
            "or it was over longer ago than its jobs are kept"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (type(self), {"batch_id": self.batch_id})


class BatchOver(AsyncJobsError):
    """A job cannot be added to a batch that has succeeded and whose callbacks are enqueued; nothing was written."""

    def __init__(self, batch_id: UUID) -> None:
        self.batch_id = batch_id
        super().__init__(
            f"batch {batch_id} is over: all of its jobs had succeeded before this one was run once more; enqueue the job by "
            "itself, or in a batch of its own"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (type(self), {"batch_id": self.batch_id})


class KindMismatch(AsyncJobsError, TypeError):
    """The job that was asked for is of another kind."""


class JobError(AsyncJobsError):
    """Base of the errors for awaited jobs that ended without success.

    Attributes:
        job_id: The job's id.
        kind: The job's kind.
    """

    def __init__(self, message: str, *, job_id: UUID, kind: str) -> None:
        self.job_id = job_id
        self.kind = kind
        super().__init__(message)

    def __reduce__(self) -> tuple[Any, ...]:
        # From its attributes: `args` holds only the message, from which a process pool could not make it again.
        parts = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return _made_again, (type(self), parts)


class JobFailed(JobError):
    """The awaited job ended in `failed`.

    Attributes:
        error_type: Qualified name of the exception's class in the worker, such as `builtins.ValueError`.
        error_message: Its message.
        traceback: The remote traceback as text; empty when the job crashed its worker.
    """

    def __init__(
        self, *, job_id: UUID, kind: str, error_type: str = "", error_message: str = "", traceback: str = ""
    ) -> None:
        self.error_type = error_type
        self.error_message = error_message
        self.traceback = traceback
        super().__init__(f"{kind} {job_id} failed: {error_type}: {error_message}", job_id=job_id, kind=kind)
        if traceback:
            self.add_note("The job's own traceback, from its worker:\n" + traceback)


class JobDiscarded(JobError):
    """The awaited job ended in `discarded`.

    Attributes:
        reason: Why, as the job or its declaration said.
    """

    def __init__(self, *, job_id: UUID, kind: str, reason: str = "") -> None:
        self.reason = reason
        super().__init__(f"{kind} {job_id} was discarded: {reason or 'no reason given'}", job_id=job_id, kind=kind)


class JobCancelled(JobError):
    """The awaited job ended in `cancelled`.

    Attributes:
        reason: Why, as given to `cancel()` or `Cancel`.
    """

    def __init__(self, *, job_id: UUID, kind: str, reason: str = "") -> None:
        self.reason = reason
        super().__init__(f"{kind} {job_id} was cancelled: {reason or 'no reason given'}", job_id=job_id, kind=kind)


class EnqueueOutcomeUnknown(AsyncJobsError):
    """The connection broke after the row was sent and before the answer came: the row may or may not exist.

    Enqueueing the same job object again is safe: it makes no second row, even if the job has run meanwhile.

    Attributes:
        job_id: The id that the row has, if it exists.
        what: job, batch, or chain; for a chain `job_id` is the id of its first job.
    """

    def __init__(self, job_id: UUID, what: str = "job") -> None:
        self.job_id = job_id
        self.what = what
        super().__init__(
            f"the database's answer to enqueueing {what} {job_id} was lost, so it may or may not exist; "
            f"call enqueue() on the same {what} again: that makes no second row"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (type(self), {"job_id": self.job_id, "what": self.what})


class LeaseLost(AsyncJobsError):
    """This worker's lease on the job is gone: another worker may be running it, and nothing more may be written."""


class JobExpired(AsyncJobsError):
    """The job was not started within its `expires_in`, and was discarded."""


class JobCrashed(AsyncJobsError):
    """The process that ran the job died: killed, out of memory, a segmentation fault, `os._exit`."""


class JobInterrupted(AsyncJobsError):
    """The job was interrupted again and again before it had recorded any progress; that spends no attempts."""


class DatabaseError(AsyncJobsError):
    """The database refused; the driver's error is the cause.

    Attributes:
        refused: Whether the server itself refused over a working connection, so that the statement is at fault.
        misconfigured: Whether database_url, or a PG* variable that completes it, is at fault.
    """

    refused = False
    misconfigured = False


class DatabaseUnavailable(DatabaseError):
    """The database could not be reached, is restarting, or did not answer in time. Safe to repeat.

    Attributes:
        begun: Whether the statement was sent, so that it may have taken effect.
    """

    begun = False


class PermissionDenied(DatabaseError):
    """The role lacks a right that the statement needs; `asyncjobs db sql --roles` prints the grants."""


class SchemaMismatch(DatabaseError):
    """The schema `asyncjobs` is missing, older or newer than this version knows."""
