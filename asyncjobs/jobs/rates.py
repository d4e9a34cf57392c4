"""`Rate`: how many jobs start in a time, over all workers, and tokens that their code takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from asyncjobs.checks.texts import shown
from asyncjobs.definitions.limiting import RateLimit
from asyncjobs.definitions.order_keys import checked_key, name_of, rate_name_of
from asyncjobs.exceptions import InvalidOption
from asyncjobs.performing import open_clients, running_job
from asyncjobs.performing.calls import ACQUIRE
from asyncjobs.performing.rate_waits import wait_for_token
from asyncjobs.performing.stepping import steps_of_run


class Rate(RateLimit):
    """How many jobs with the same key start in a time, over all workers: a token bucket.

    The bucket holds `burst` tokens, and gets one every ``per / count`` seconds; each start takes one, a retry's too. A job
    that finds no token stays `ready` and starts when its token is due.

    Args:
        count: Starts in the time `per`, at least 1.
        per: Seconds, or a timedelta.
        by: Names of arguments whose values are the key, or a callable of the job that returns it; (): the whole kind.
        key: Shared by all kinds that give it, in place of the kind.
        burst: Starts that may follow each other at once after a pause; None: `count`. 1 spaces them evenly.
        follow_retry_after: Whether an error's `retry_after`, in seconds, holds all starts back until then.

    Raises:
        InvalidOption: A value outside these limits.
    """

    __slots__ = ()

    async def acquire(self, key: str | None = None) -> None:
        """Take a token inside a job's code, for instance before each call of a service, and return when it is due.

        A short wait is spent in memory, and keeps the slot. A wait of more than ten seconds outside a step is a durable
        sleep, as by `Job.sleep`: the run ends, and the job goes on when the token is due; code outside steps runs again.

        Args:
            key: The bucket's, shared with every other call and `rate_limit` that gives the same. None: the rate's own.

        Raises:
            InvalidOption: There is no key, or it cannot be one; or the rate has a bucket for each value of `by`.
            NotOpen: No AsyncJobs is open in this process.
        """
        if key is None and self.by != ():
            raise InvalidOption(
                f"acquire() takes from one bucket, and this rate has many, by={shown(self.by)}: give the key of one, as in "
                "`await rate.acquire('stripe')`, or make a Rate without by="
            )
        shared = checked_key(key, "acquire") or self.key
        if shared is None:
            raise InvalidOption(
                "acquire() needs a key: give it, as in `await rate.acquire('stripe')`, or make the Rate with one"
            )
        name = name_of(shared, ())

        def take() -> Awaitable[float]:
            return open_clients.current(ACQUIRE).take_token(rate_name_of(name), self.spacing, self.burst)

        job = running_job.running.get()
        if job is not None and job._attempt is not None:
            await wait_for_token(steps_of_run(job), name, take)
        else:
            await asyncio.sleep(await take())
