import pytest
from pydantic import ValidationError

from asyncjobs.exceptions import InvalidSettings
from asyncjobs.settings import Settings, load

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("", ""),
        ("postgresql:///db", "postgresql:///db"),
        ("postgres://h", "postgres://h"),
        ("postgresql://u@h:5432/db", "postgresql://u@h:5432/db"),
        ("postgresql://h:5432/db?sslmode=require", "postgresql://h:5432/db?sslmode=require"),
        ("postgresql://u:s3cret@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:@h/db", "postgresql://u:***@h/db"),
        ("postgresql://:s3cret@h/db", "postgresql://:***@h/db"),
        ("postgresql://u:s3cret@x@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:s3cret:x@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:s3cret@a:1,b:2,[::1]:3/db", "postgresql://u:***@a:1,b:2,[::1]:3/db"),
        ("postgresql://u@%2Frun%2Fpg/db", "postgresql://u@%2Frun%2Fpg/db"),
        ("postgresql:///db?host=/socket&port=5433", "postgresql:///db?host=/socket&port=5433"),
        ("postgresql://u:s3cret@h:1/db?user=me@tenant", "postgresql://u:***@h:1/db?user=me@tenant"),
        ("postgresql://h/db?user=me@tenant", "postgresql://h/db?user=me@tenant"),
        ("postgresql://h/db?password=s3cret&sslmode=require", "postgresql://h/db?password=***&sslmode=require"),
        ("postgresql://h/db?sslmode=require&sslpassword=s3cret", "postgresql://h/db?sslmode=require&sslpassword=***"),
        ("postgresql://h/db?PASSWORD=s3cret", "postgresql://h/db?PASSWORD=***"),
        ("postgresql://h/db?p%61ssword=s3cret", "postgresql://h/db?p%61ssword=***"),
    ],
)
def test_a_postgresql_url_is_taken_as_it_is_and_shown_without_its_password(url, safe):
    settings = load(database_url=url)
    assert settings.database_url == url
    assert settings.safe_database_url == safe
    assert SECRET not in settings.safe_database_url + repr(settings) + str(settings)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mysql://u:s3cret@h/db", '"mysql" is not supported; asyncjobs needs PostgreSQL: give postgresql://'),
        ("postgresql+asyncpg://u:s3cret@h/db", '"postgresql+asyncpg" names a driver,'),
        ("s3cret", "not a URL; give postgresql://"),
        ("host=h password=s3cret", "not a URL;"),
        ("host=h password=s3cret://", "not a URL;"),
        ("postgresql:h/s3cret", "not a URL;"),
        ("postgresql://u:s3cret/x@h/db", "the URL cannot be split safely; write / ? # @ : in the password as %2F"),
        ("postgresql://u:1/s3cret@h/db", "the URL cannot be split safely;"),
        ("postgresql://u:a@b/s3cret@h/db", "the URL cannot be split safely;"),
        ("postgresql://u:a@b?s3cret@h/db", "the URL cannot be split safely;"),
        ("postgresql://u:1?x=s3cret@h/db", "the URL cannot be split safely;"),
        ("postgresql://h/s3cret#x", "the URL cannot be split safely;"),
        ("postgresql://u:1?s3cret@h/db", "the URL cannot be split safely;"),
        ("postgresql://u:1#s3cret@h/db", "the URL cannot be split safely;"),
        ("postgresql://u:s3cret@h:http/db", "a host or port in the URL is invalid; give host or host:port"),
        ("postgresql://u:s3cret@h:0/db", "a host or port in the URL is invalid;"),
        ("postgresql://u:s3cret@h:65536/db", "a host or port in the URL is invalid;"),
        ("postgresql://u:s3cret@a:1,b:x/db", "a host or port in the URL is invalid;"),
        ("postgresql://u:s3cret@[::1/db", "a host or port in the URL is invalid;"),
        ("postgresql://u:s3cret x@h/db", "the URL holds white space;"),
        (["postgresql://u:s3cret@h/db"], "not text; give postgresql://"),
        ({"password": "s3cret"}, "not text;"),
        (b"postgresql://u:s3cret@h/db", "not text;"),
    ],
)
def test_anything_else_is_refused_and_never_shown(url, expected):
    with pytest.raises(InvalidSettings) as caught:
        load(database_url=url)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"argument database_url: {expected}")
    assert SECRET not in str(caught.value)
    assert SECRET not in str(caught.value.__cause__)
    with pytest.raises(ValidationError) as constructed:
        Settings(database_url=url)
    assert SECRET not in str(constructed.value)


def test_a_problem_elsewhere_does_not_show_the_url(problems):
    url = "postgresql://u:s3cret@h/db"
    assert SECRET not in "".join(problems(database_url=url, lease=0, nonsense=url))


@pytest.mark.parametrize(
    "key", ["lease", "log_level", "log_format", "imports", "pools", "dispatcher", "database_connections"]
)
@pytest.mark.parametrize("value", ["postgresql://u:s3cret@h/db", ["postgresql://u:s3 s3cret@h/db"]])
def test_a_url_given_to_the_wrong_key_is_not_shown(problems, key, value):
    assert SECRET not in problems(**{key: value})[0]


def test_white_space_around_a_url_is_dropped(monkeypatch):
    monkeypatch.setenv("ASYNCJOBS_DATABASE_URL", "postgresql:///db\n")
    assert load().database_url == "postgresql:///db"


def test_the_traceback_of_a_refusal_holds_no_url(problems):
    with pytest.raises(InvalidSettings) as caught:
        load(database_url="mysql://u:s3cret@h/db", lease=0)
    error = caught.value
    while error is not None:
        assert SECRET not in str(error)
        error = error.__cause__ or error.__context__
