"""Known types: PostgreSQL's own arrays, so that asyncpg need not ask for them on each connection (15 ms of a core to plan).

Their numbers are the same in every database of every version.
"""

from __future__ import annotations

import contextlib
from typing import Any

import asyncpg

_ELEMENTS = {
    199: (114, "json", "json"),
    1000: (16, "bool", "boolean"),
    1001: (17, "bytea", "bytea"),
    1005: (21, "int2", "smallint"),
    1007: (23, "int4", "integer"),
    1009: (25, "text", "text"),
    1016: (20, "int8", "bigint"),
    1022: (701, "float8", "double precision"),
    1182: (1082, "date", "date"),
    1185: (1184, "timestamptz", "timestamp with time zone"),
    1187: (1186, "interval", "interval"),
    1231: (1700, "numeric", "numeric"),
    2951: (2950, "uuid", "uuid"),
    3807: (3802, "jsonb", "jsonb"),
}
"""By the number of an array type: the number of the element type, its internal name, and its SQL name."""
_NOTHING = dict.fromkeys(
    ("basetype", "range_subtype", "attrtypoids", "attrnames", "basetype_name", "range_subtype_name")
)


def _row(array: int) -> dict[str, Any]:
    """Return the row that the server would send for an array type."""
    element, name, written = _ELEMENTS[array]
    about = {"elemtype": element, "elemtype_name": written, "elemdelim": b",", "kind": b"b", "depth": 0}
    return {"oid": array, "ns": "pg_catalog", "name": f"_{name}", **about, **_NOTHING}


_ROWS = [_row(array) for array in _ELEMENTS]


def tell(connection: asyncpg.Connection) -> None:
    """Register the types with a connection. If asyncpg's private method has changed, the connection asks the server."""
    with contextlib.suppress(AttributeError, TypeError, KeyError):
        connection._protocol.get_settings().register_data_types(_ROWS)
