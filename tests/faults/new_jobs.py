"""A module that only the workers of the newer release have."""

from asyncjobs import current_job, job
from tests.faults.jobs import where
from tests.support import oracle


@job(kind="faults.brand_new")
async def brand_new(n: int) -> str:
    with oracle.interval(current_job(), n=n):
        return where()
