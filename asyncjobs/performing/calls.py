"""Calls of an open client, and how each is written on a loop, in a thread and in a program without a loop."""

from __future__ import annotations

from typing import NamedTuple

from asyncjobs.exceptions import NotOpen


class Call(NamedTuple):
    """One call, for errors that say how to make it elsewhere."""

    what: str
    """Completes "before you …"."""
    on_loop: str = ""
    """On the client's loop, in place of `from_thread`."""
    from_thread: str = ""
    """In a thread, while a client is open in the process; empty: only on a loop."""
    blocking: str = ""
    """Inside `with AsyncJobs().blocking() as jobs:`."""

    def nowhere_open(self) -> NotOpen:
        """Return the error for a process in which no client is open."""
        do = f" and `{self.blocking}`" if self.blocking else ""
        return NotOpen(
            f"no AsyncJobs is open in this process: before you {self.what}, enter `async with AsyncJobs():` around your "
            "program, `FastAPI(lifespan=jobs.lifespan)` (the outermost application's; a mounted one's is not run), "
            f"or, without an event loop, `with AsyncJobs().blocking() as jobs:`{do}; in a test take the fixture `jobs`"
        )

    def on_another_loop(self) -> NotOpen:
        """Return the error for a loop on which the client was not opened."""
        do = f", or call `{self.from_thread}` in a thread without a loop" if self.from_thread else ""
        return NotOpen(f"this AsyncJobs was opened on another event loop: open one here{do}")


ANY = Call("enqueue, await or emit")
ENQUEUE = Call("enqueue", "await job.enqueue()", "job.enqueue_from_thread()", "jobs.enqueue(job)")
ENQUEUE_ALL = Call("enqueue", "", "job.enqueue_from_thread()", "jobs.enqueue_all(…)")
RESULT = Call("await a job", "await job.result()", "job.result_from_thread()", "jobs.result(job)")
STATUS = Call("ask for a status", blocking="jobs.status(job)")
CANCEL = Call("cancel a job", blocking="jobs.cancel(job)")
ACQUIRE = Call("take a token of a rate")
FOLLOW = Call("follow a job")
EMIT = Call("emit", "await emit(…)", "emit_from_thread(…)", "jobs.emit(…)")
ENQUEUE_BATCH = Call("enqueue a batch", "await batch.enqueue()")
BATCH_STATUS = Call("ask how far a batch is", "await batch.status()")
AWAIT_BATCH = Call("await a batch", "await batch.result()")
ENQUEUE_CHAIN = Call("enqueue a chain", "await chain.enqueue()")
AWAIT_CHAIN = Call("await a chain", "await chain.result()")
