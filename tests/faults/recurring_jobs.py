"""What recurs, for the tests of faults: it tells the oracle when it begins, and for which time.

For workers alone: imported by a test, it would recur in every test of that process.
"""

from asyncjobs import current_attempt, current_job, job
from tests.faults.jobs import where
from tests.support import oracle


@job(kind="recurs.beat", schedule="* * * * * *", max_crashes=1_000)
async def beat() -> str:
    with oracle.interval(current_job(), tick=current_attempt().scheduled_for):
        return where()
