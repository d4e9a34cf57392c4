"""Parameters of libpq in database_url: done, dropped where they ask for what is done anyway, or refused by name."""

import pytest

from asyncjobs.db import driver
from asyncjobs.exceptions import InvalidSettings
from asyncjobs.settings import load

TAKEN_AS_THEY_ARE = (
    "target_session_attrs=read-write",
    "sslmode=verify-full&sslrootcert=%2Fa%26b.crt",
    "options=-c%20search_path%3Dapp",
    "app.tenant=acme&statement_timeout=5s",
)
DONE_ANYWAY = (
    "channel_binding=prefer",
    "client_encoding=UTF8",
    "gssencmode=disable",
    "keepalives=1&keepalives_idle=30&tcp_user_timeout=1000&connect_timeout=10",
    "load_balance_hosts=disable",
    "replication=false",
    "sslcompression=1&sslsni=1&sslcertmode=allow&requiressl=0&gssdelegation=0",
    "application_name=app&fallback_application_name=app",
)


@pytest.mark.parametrize("parameters", TAKEN_AS_THEY_ARE)
def test_what_the_driver_or_the_server_knows_goes_on_to_it(parameters):
    url = load(database_url=f"postgresql://u@h/d?{parameters}").database_url
    assert driver.arguments(url, 5)["dsn"] == url


@pytest.mark.parametrize("parameters", DONE_ANYWAY)
def test_what_is_done_anyway_or_here_is_kept_from_the_server(parameters):
    url = load(database_url=f"postgresql://u@h/d?{parameters}").database_url
    assert driver.arguments(url, 5)["dsn"] == "postgresql://u@h/d"


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (
            "channel_binding=require",
            "channel_binding=require is not supported: asyncpg has none; write sslmode=verify-full",
        ),
        ("gssencmode=require", "gssencmode=require is not supported: the driver, asyncpg, cannot do it; remove it"),
        ("require_auth=scram-sha-256", "require_auth is not supported"),
        ("hostaddr=10.0.0.1", "give the address as the host"),
        ("requiressl=1", "write sslmode=require"),
        ("connect_timeout=soon", "connect_timeout is 'soon': give a whole number, seconds"),
        ("keepalives_idle=1.5", "keepalives_idle is '1.5'"),
        ("port=many", "port is 'many'"),
        (
            "sslmode=no-verify",
            "sslmode is 'no-verify': give one of disable, allow, prefer, require, verify-ca, verify-full",
        ),
        ("sslrootcert=system&sslmode=require", "sslrootcert=system goes with sslmode=verify-full alone"),
        ("target_session_attrs=master", "target_session_attrs is 'master'"),
        ("pgbouncer=true", "pgbouncer is a parameter of Prisma, none of PostgreSQL's: remove it: a pooler"),
        ("ssl=true", "none of PostgreSQL's: write sslmode=require"),
        ("schema=x", "everything of asyncjobs is in the schema asyncjobs"),
        ("sslmode", "the URL's parameter 'sslmode' has no value"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name_with_the_remedy(parameters, said):
    with pytest.raises(InvalidSettings) as raised:
        load(database_url=f"postgresql://u:s3cret@h/d?{parameters}")
    assert said in str(raised.value)
    assert "s3cret" not in str(raised.value)
