"""What a claim brings of what is paused: nothing, whatever the worker asks for."""

from __future__ import annotations

import asyncpg
import pytest
from db_rows import claim, make_worker, put

from asyncjobs.db import claims, pausing
from asyncjobs.db.rows import Range


@pytest.mark.parametrize("sort", ["plain", "suspects", "aged"])
@pytest.mark.parametrize("scope", ["queue", "kind"])
async def test_no_claim_brings_what_is_paused_until_it_is_over(
    worker_session: asyncpg.Connection, connection: asyncpg.Connection, scope: str, sort: str
) -> None:
    worker = await make_worker(connection)
    await put(connection, 3, kind="held" if scope == "kind" else "k", queue="q" if scope == "kind" else "held")
    await put(connection, 2)
    if sort == "suspects":
        await connection.execute("update asyncjobs.job set crashes = 2")

    async def claimed() -> int:
        if sort == "plain":
            return len(await claim(worker_session, worker, 10, "held", "q", kinds=("held", "k")))
        kinds = {"held": 9, "k": 9}
        if sort == "suspects":
            return len(
                await claims.claim_suspects(
                    worker_session, queues=["held", "q"], limit=10, kinds=kinds, worker=worker, apart=False
                )
            )
        ranges = [Range(n, queue, -32768, 32767, -(2**63)) for n, queue in enumerate(("held", "q"), 1)]
        return len(
            await claims.claim_aged(
                worker_session, free=10, ranges=ranges, kinds=list(kinds), worker=worker, aging=60.0
            )
        )

    await pausing.pause(connection, scope, ["held"], until=None, seconds=None, reason="", by="")
    assert await claimed() == 2
    await connection.execute(
        "update asyncjobs.pause set until = clock_timestamp()"
    )  # over, though nobody has forgotten it
    assert await claimed() == 3
