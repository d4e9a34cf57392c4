"""A job that is kept for long, apart from the others: a worker that knows it makes the days of the history for it."""

from datetime import timedelta

from asyncjobs import current_job, job
from tests.faults.jobs import where
from tests.support import oracle


@job(kind="faults.kept", retention=timedelta(days=90))
async def kept() -> str:
    with oracle.interval(current_job()):
        return where()
