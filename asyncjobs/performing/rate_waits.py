"""Waits for a token of a rate inside a job's code: a short one in memory, a long one as a durable sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from asyncjobs.performing.step_log import inside
from asyncjobs.performing.stepping import Stepper
from asyncjobs.records.step_records import ENDED

SHORT = 10.0
"""Seconds up to which a wait is spent in memory; a longer one ends the run, and the job goes on when its token is due."""


async def wait_for_token(stepper: Stepper, name: str, take: Callable[[], Awaitable[float]]) -> None:
    """Take a token, and return when it is due.

    Args:
        stepper: Of the running job.
        name: The rate's.
        take: Takes a token, and returns in how many seconds it is due.
    """
    if inside.get() is not None:
        await asyncio.sleep(await take())
        return
    progress, begins = stepper.log.progress, f"{name[:180]} "
    number, slept = stepper.tokens.get(name, (0, 0))
    number += 1
    # Code outside of steps runs again from its beginning, and its calls with it. Each takes a token but the first, which has
    # the one for which the run before has slept.
    while (record := progress.next_record) is not None and record.name.startswith(begins):
        await stepper.waits.wait(record.name, event=None, seconds=0)
        slept = max(slept, int(record.name[len(begins) :]))
        if record.state not in ENDED:
            stepper.tokens[name] = number, slept
            return
    stepper.tokens[name] = number, slept
    seconds = await take()
    # Once for each call, else the run would never come to the next one; and while records remain that the code has not come
    # to, a new step would be out of order.
    if seconds > SHORT and number > slept and progress.is_at_end:
        await stepper.waits.wait(f"{begins}{number}", event=None, seconds=seconds)
    elif seconds > 0:
        await asyncio.sleep(seconds)
