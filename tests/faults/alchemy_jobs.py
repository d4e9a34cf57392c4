"""A job with a step on SQLAlchemy: apart from the others, since to import that takes each worker half a second of a core."""

import asyncio

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from asyncjobs import step
from tests.faults.step_jobs import Six


class SixOnSQLAlchemy(Six, kind="steps.SixOnSQLAlchemy", max_crashes=1_000):
    @step(isolated=True)
    async def last(self, connection: AsyncConnection) -> None:
        self.begins("last")
        await connection.execute(text("insert into effect values (:job, 'last')"), {"job": self.id})
        await asyncio.sleep(0.01)
