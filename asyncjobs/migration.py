"""The migration of a database, as a program asks for it: by its URL."""

from __future__ import annotations

from asyncjobs.db import migrating
from asyncjobs.db.connecting import connect
from asyncjobs.db.errors import translating
from asyncjobs.exceptions import InvalidSettings


async def migrate(database_url: str) -> list[str]:
    """Bring the schema of a database up to date, as `asyncjobs db migrate` does.

    Of two calls at once, one waits for the other and finds nothing left to do.

    Args:
        database_url: As in the settings: ``postgresql://user:password@host/database``.

    Returns:
        The applied migrations, such as ``"0001_schema"`` and ``"functions"``; none when the schema was up to date.

    Raises:
        InvalidSettings: It is no such URL.
        SchemaMismatch: The schema is newer than this version, or was changed by hand.
        PermissionDenied: This login may not migrate; the message has the grant.
        DatabaseUnavailable: The database cannot be reached.
    """
    from asyncjobs.settings.urls import check_database_url

    try:
        url = check_database_url(database_url.strip())
    except ValueError as error:
        raise InvalidSettings([f"database_url: {error}"]) from None
    if not url:
        raise InvalidSettings(["database_url is empty: give postgresql://user:password@host/database"])
    connection = await connect(url, name="asyncjobs migrate")
    try:
        with translating(url):
            applied = await migrating.migrate(connection)
    finally:
        connection.terminate()
    return [str(migration) for migration in applied]
