import asyncpg
import pytest

from tests.support.postgres import ThrowAwayPostgres
from tests.support.sweeps import slowly


@pytest.mark.parametrize("how", [*slowly("immediate"), "kill"])
async def test_a_crashed_server_comes_back_with_what_was_committed(how):
    async with ThrowAwayPostgres({"fsync": "on"}) as server:
        await server.create_database("one")
        connection = await server.connect("one")
        await connection.execute("create table kept (n int)")
        await connection.execute("insert into kept values (7)")
        await server.stop(how)
        with pytest.raises((OSError, asyncpg.PostgresError)):
            await server.connect("one")
        await server.start()
        connection.terminate()
        connection = await server.connect("one")
        assert await connection.fetchval("select n from kept") == 7
        await connection.close()
        directory = server.directory
    assert not directory.exists()


async def test_settings_reach_the_server():
    async with ThrowAwayPostgres({"max_connections": "17"}) as server:
        connection = await server.connect()
        assert await connection.fetchval("show max_connections") == "17"
        assert await connection.fetchval("show fsync") == "off"
        await connection.close()


async def test_a_server_that_cannot_start_says_why():
    with pytest.raises(RuntimeError, match="no_such_setting"):
        async with ThrowAwayPostgres({"no_such_setting": "1"}):
            pass
