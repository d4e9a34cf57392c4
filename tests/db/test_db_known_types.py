"""What a connection knows of types without asking."""

from __future__ import annotations

import asyncpg

from asyncjobs.db import postgres_types
from asyncjobs.db.connecting import connect

ASKED = "select count(*) from pg_prepared_statements where strpos(statement, $1) > 0"


async def test_no_connection_asks_for_an_array_of_postgresqls_own_types(shared_url: str) -> None:
    connection = await connect(shared_url)
    columns = ", ".join(f"null::{row['elemtype_name']}[]" for row in postgres_types._ROWS)
    assert set(await connection.fetchrow(f"select {columns}")) == {None}
    assert await connection.fetchval("select $1::integer[]", [1, 2]) == [1, 2]
    assert await connection.fetchval(ASKED, "typeinfo_tree") == 0
    await connection.fetchval("select array['[1,2]'::int4range]")
    assert await connection.fetchval(ASKED, "typeinfo_tree") == 1
    connection.terminate()


async def test_what_it_is_told_is_what_the_server_says(shared_url: str) -> None:
    connection = await asyncpg.connect(shared_url)
    answers, _ = await connection._introspect_types([row["oid"] for row in postgres_types._ROWS], None)
    said = {answer["oid"]: dict(answer) for answer in answers}
    for row in postgres_types._ROWS:
        assert {name: said[row["oid"]][name] for name in row} == row
    connection.terminate()
