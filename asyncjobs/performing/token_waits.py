"""Waiting for a token of a rate inside a job's code: a short time in memory, a long one as a durable sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from asyncjobs.performing.step_log import inside
from asyncjobs.performing.stepping import Stepper

SHORT = 10.0
"""Seconds that are waited in memory; what is longer ends the run, and the job goes on when its token is due."""


async def wait_for_token(stepper: Stepper, name: str, take: Callable[[], Awaitable[float]]) -> None:
    """Take a token, and return when it is due.

    Args:
        stepper: Of the job that runs here.
        name: Of the rate.
        take: Takes one, and returns in how many seconds it is due.
    """
    # The step that a durable sleep is, or would be: the code comes to it with the same number when the job runs again.
    number = stepper.log.progress.next_number + 1
    step = f"{name[:180]} {number}"
    is_in_step = inside.get() is not None
    if not is_in_step and stepper.log.progress.recorded_as(number) == step:
        await stepper.waits.wait(step, event=None, seconds=0)  # its token was taken before this run
        return
    seconds = await take()
    # Where something is recorded that the code has not come to, a new step would be out of its order.
    if seconds > SHORT and not is_in_step and stepper.log.progress.is_at_end:
        await stepper.waits.wait(step, event=None, seconds=seconds)
    elif seconds > 0:
        await asyncio.sleep(seconds)
