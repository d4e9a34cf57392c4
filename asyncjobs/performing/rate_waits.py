"""Waits for a token of a rate inside a job's code: a short one in memory, a long one as a durable sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from asyncjobs.performing.step_log import inside
from asyncjobs.performing.stepping import Stepper

SHORT = 10.0
"""Seconds up to which a wait is spent in memory; a longer one ends the run, and the job goes on when its token is due."""


async def wait_for_token(stepper: Stepper, name: str, take: Callable[[], Awaitable[float]]) -> None:
    """Take a token, and return when it is due.

    Args:
        stepper: Of the running job.
        name: The rate's.
        take: Takes a token, and returns in how many seconds it is due.
    """
    # The name of the durable sleep: its number is the same when the code comes to it again in a later run.
    number = stepper.log.progress.next_number + 1
    step = f"{name[:180]} {number}"
    is_in_step = inside.get() is not None
    if not is_in_step and stepper.log.progress.recorded_as(number) == step:
        await stepper.waits.wait(step, event=None, seconds=0)  # an earlier run took the token
        return
    seconds = await take()
    # While records remain that the code has not come to, a new step would be out of order.
    if seconds > SHORT and not is_in_step and stepper.log.progress.is_at_end:
        await stepper.waits.wait(step, event=None, seconds=seconds)
    elif seconds > 0:
        await asyncio.sleep(seconds)
