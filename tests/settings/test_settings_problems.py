import pytest

from asyncjobs.exceptions import InvalidSettings
from asyncjobs.settings import Settings, load, loading
from asyncjobs.settings.loading import read

POOL = "queues = ['a']\nconcurrency = 1\n"


def test_every_problem_of_every_source_is_listed_at_once(write, monkeypatch):
    write(
        """[default]
lease = 0
shutdwon_timeout = 5

[default.dispatcher]
batch_size = 5001  # too many

[[default.pools]]
queues = ["critical"]
concurrency = 3

[[default.pools]]
queues = ["default"]
concurrency = 0

[production]
retention = "1 week"
"""
    )
    monkeypatch.setenv("ASYNCJOBS_DISPATCHER__POLLING_INTERVAL", "0")
    monkeypatch.setenv("ASYNCJOBS_LOG_LEVL", "debug")
    with pytest.raises(InvalidSettings) as caught:
        load(environment="production", cleanup_timeout=-1)
    assert sorted(caught.value.problems) == [
        (
            'ASYNCJOBS_DISPATCHER__POLLING_INTERVAL: "0" is not allowed; '
            'give from 50ms to 1m, as seconds or as text like "45s", "10m" or "7d"'
        ),
        "ASYNCJOBS_LOG_LEVL: unknown variable; did you mean ASYNCJOBS_LOG_LEVEL?",
        (
            "argument cleanup_timeout: -1 is not allowed; "
            'give from 0s to 1h, as seconds or as text like "45s", "10m" or "7d"'
        ),
        "config.toml:14: default.pools[1].concurrency: 0 is not allowed; give a whole number from 1 to 10000",
        (
            'config.toml:17: production.retention: "1 week" is not a time; '
            'give from 0s to 3650d, as seconds or as text like "45s", "10m" or "7d"'
        ),
        'config.toml:2: default.lease: 0 is not allowed; give from 1s to 1h, as seconds or as text like "45s", "10m" or "7d"',
        "config.toml:3: default.shutdwon_timeout: unknown key; did you mean shutdown_timeout?",
        "config.toml:6: default.dispatcher.batch_size: 5001 is not allowed; give a whole number from 1 to 5000",
    ]
    assert str(caught.value).splitlines() == caught.value.problems


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[default]\nrecurring.daily.job = 'x'", "2: default.recurring.daily.schedule: missing; add schedule = "),
        (
            "[default.recurring.a]\njob = 'x'\nschedule = '61 * * * *'",
            "3: default.recurring.a.schedule: schedule='61 * * * *' is no schedule",
        ),
        (
            "[default.recurring.a]\njob = 'x'\nschedule = '@daily'\ntimezone = 'Mars/Olympus'",
            "4: default.recurring.a.timezone: timezone='Mars/Olympus' is no known",
        ),
        (
            "[default.recurring.a]\njob = 'x'\nschedule = '0 0 30 2 *'",
            "3: default.recurring.a.schedule: schedule='0 0 30 2 *' never happens",
        ),
        ("[default.recurring.a]\njob = ''\nschedule = '@daily'", '2: default.recurring.a.job: "" is no kind of job'),
        (
            "[default.recurring.a]\njob = 'x'\nschedule = '@daily'\ncatch_up = 'some'",
            '4: default.recurring.a.catch_up: "some" is not allowed; give "none", "latest" or "all"',
        ),
        (
            "[default.recurring.a]\njob = 'x'\nschedule = '@daily'\njitter = '2d'",
            '4: default.recurring.a.jitter: "2d" is not allowed; give from 0s to 1d',
        ),
        (
            "[default.recurring.a]\njob = 'x'\nschedule = '@daily'\nqueue = 'no good'",
            '4: default.recurring.a.queue: "no good" is no queue',
        ),
        (
            "[default.recurring.a]\njob = 'x'\nschedule = '@daily'\ncron = 'x'",
            "4: default.recurring.a.cron: unknown key; did you mean schedule?",
        ),
        (
            "[default.recurring.a]\njob = 'x'\nschedule = '@daily'\nclass = 'x'",
            "4: default.recurring.a.class: unknown key; did you mean job?",
        ),
        (
            "[default.recurring]\njob = 'x'",
            '2: default.recurring.job: "x" is not a table; write one with a name of its own, [default.recurring.NAME]',
        ),
        ("[default.queues.'mail*']\nmax_depth = 5", '1: default.queues.mail*: "mail*" is no queue'),
        ("[[default.workers]]\nqueues = ['a']", "1: default.workers: unknown key; did you mean pools?"),
        ("[[default.dispatcher]]", "1: default.dispatcher: a list is not a table; TOML writes a table with single"),
        (
            "[default]\nbatch_size = 5",
            "2: default.batch_size: unknown key; did you mean batch_size in the dispatcher table?",
        ),
        ("[default]\nconcurrency = 5", "2: default.concurrency: unknown key; did you mean concurrency in a pool?"),
        ("[default]\nlog-level = 'info'", "2: default.log-level: unknown key; did you mean log_level?"),
        ("[default]\nenvironment = 'x'", "2: default.environment: unknown key; remove it"),
        ("[default]\nsource = 'x'", "2: default.source: unknown key; remove it"),
        ("[default]\n_env_file = '.env'", "2: default._env_file: unknown key; remove it"),
        (
            "[default.dispatcher]\nlease = 5",
            "2: default.dispatcher.lease: unknown key; did you mean lease outside this table?",
        ),
        (
            "[default]\n[[default.pools]]\n" + POOL + "threads = 3",
            "5: default.pools[0].threads: unknown key; did you mean concurrency?",
        ),
        (
            "[default]\n[[default.pools]]\nqueues = ['a']",
            "2: default.pools[0].concurrency: missing; add concurrency = 10",
        ),
        (
            "[default]\n[[default.pools]]\nconcurrency = 1",
            '2: default.pools[0].queues: missing; add queues = ["default"]',
        ),
        ("[default]\npools = []", "2: default.pools: without a pool nothing would run; add one"),
        (
            "[default]\npools = [\n {queues=['a'], concurrency=1},\n {queues=['b'], concurrency=-1},\n]",
            "4: default.pools[1].concurrency: -1 is not",
        ),
        ("[default]\n[default.pools]\n" + POOL, "2: default.pools: one table is not a list; give a list of tables"),
        ("[default]\npools = [5]", "2: default.pools[0]: 5 is not a table;"),
        ("[default]\ndispatcher = 5", "2: default.dispatcher: 5 is not a table;"),
        (
            "[default]\nimports = 'app.jobs'",
            '2: default.imports: "app.jobs" is not a list; write it in brackets: ["app.jobs"]',
        ),
        (
            "[default]\nimports = [\n'app.jobs',\n'app/mails.py']",
            '4: default.imports[1]: "app/mails.py" is no module; give its dotted name',
        ),
        ("[default]\nimports = ['.jobs']", '2: default.imports[0]: ".jobs" is no module'),
        ("[default]\nimports = [5]", "2: default.imports[0]: 5 is no module"),
        ("[default]\nLEASE = 5", "2: default.LEASE: unknown key; did you mean lease?"),
        ("[default]\nret = 5", "2: default.ret: unknown key; did you mean retention?"),
        ("[default]\nl = 5", "2: default.l: unknown key; remove it"),
        ("[default]\nlease = \nretention = 5\n", "2: not TOML: Invalid value, column 9"),
        ("[default.dispatcher]\n[development]\ndispatcher = 5", "3: development.dispatcher: 5 is not a table"),
        ("development = 5\n[default]", "1: development: outside the environments"),
        ("[default]\nlease = true", "2: default.lease: true is not a time"),
        ("[default]\nlog_format = 'xml'", '2: default.log_format: "xml" is not allowed; give "text", "json" or "none"'),
        (
            "[default]\nlog_level = 'loud'",
            '2: default.log_level: "loud" is not allowed; give "debug", "info", "warning", "error" or "critical"',
        ),
        (
            "[default]\ndatabase_connections = true",
            "2: default.database_connections: true is not allowed; give a whole number from 1 to 1000",
        ),
        (
            "[default]\ndatabase_connections = 5.0",
            "2: default.database_connections: 5.0 is not allowed; give a whole number",
        ),
        ("[default]\ndatabase_connections = 0", "2: default.database_connections: 0 is not allowed"),
        ("[default]\nlease = 3601", "2: default.lease: 3601 is not allowed; give from 1s to 1h"),
        ("lease = 5\n[default]", "1: lease: outside the environments; write it as default.lease"),
        (
            "[default]\n[dispatcher]\nbatch_size = 5",
            "2: dispatcher: outside the environments; write it as default.dispatcher",
        ),
        (
            "nonsense = 5\n[default]",
            "1: nonsense: outside the environments; move it into [default] or an environment's table",
        ),
        ("[default]\nlease = 5\nlease = 6", "3: not TOML: Cannot overwrite a value, "),
        ("[default]\nlease = \n", "2: not TOML: Invalid value, column 9; correct the line"),
        ("[default]\nlease = [1,\n", "2: not TOML: "),
    ],
)
def test_a_problem_in_the_file_names_line_fact_and_remedy(write, problems, text, expected):
    write(text)
    found = problems()
    assert len(found) == 1
    assert found[0].startswith(f"config.toml:{expected}")
    assert "None" not in found[0]


def test_a_number_too_long_for_python_is_a_problem_and_no_crash(write, problems):
    write("[default]\nlease = " + "9" * 5000)
    assert problems()[0].startswith("config.toml: not TOML: ")


def test_a_value_that_another_table_replaces_is_not_judged(write, problems):
    write("[default]\nlease = 0\n[production]\nlease = 5\n")
    assert problems(environment="production") == []


def test_a_key_missing_in_the_replacing_list_is_sought_there_and_not_in_the_replaced_one(write, problems):
    write("[default]\n[[default.pools]]\n" + POOL + "[production]\n[[production.pools]]\nqueues = ['b']\n")
    assert problems(environment="production") == [
        "config.toml:6: production.pools[0].concurrency: missing; add concurrency = 10"
    ]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("LEASE", "soon", 'ASYNCJOBS_LEASE: "soon" is not a time; give from 1s to 1h'),
        ("DATABASE_CONNECTIONS", "many", 'ASYNCJOBS_DATABASE_CONNECTIONS: "many" is not allowed; give a whole number'),
        (
            "POOLS",
            "[{]",
            'ASYNCJOBS_POOLS: not JSON (Expecting property name enclosed in double quotes: line 1 column 3 (char 2)); give such as [{"queues"',
        ),
        ("POOLS", "[]", "ASYNCJOBS_POOLS: without a pool nothing would run"),
        ("POOLS", '[{"queues": ["a"], "concurrency": 0}]', "ASYNCJOBS_POOLS: pools[0].concurrency: 0 is not allowed"),
        ("DISPATCHER", "[1", "ASYNCJOBS_DISPATCHER: not JSON"),
        ("DISPATCHER", "5", "ASYNCJOBS_DISPATCHER: 5 is not a table"),
        (
            "DISPATCHER",
            '{"lease": 5}',
            "ASYNCJOBS_DISPATCHER: dispatcher.lease: unknown key; did you mean lease outside",
        ),
        ("IMPORTS", "[app", "ASYNCJOBS_IMPORTS: not JSON"),
        ("IMPORTS", "app.jobs,9", 'ASYNCJOBS_IMPORTS: imports[1]: "9" is no module'),
        ("MIDDLEWARE", "[app", "ASYNCJOBS_MIDDLEWARE: not JSON"),
        ("RECURRING__REPORT", "daily", "ASYNCJOBS_RECURRING__REPORT: not JSON"),
        (
            "RECURRING__REPORT",
            '{"job": "app.report"}',
            "ASYNCJOBS_RECURRING__REPORT: recurring.report.schedule: missing",
        ),
    ],
)
def test_a_problem_in_the_environment_names_its_variable(problems, monkeypatch, name, text, expected):
    monkeypatch.setenv(f"ASYNCJOBS_{name}", text)
    found = problems()
    assert len(found) == 1
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "CONCURENCY",
            "5",
            "ASYNCJOBS_CONCURENCY: unknown variable; concurrency is a key of a pool: give the pools as JSON in ASYNCJOBS_POOLS",
        ),
        ("BATCH_SIZE", "5", "ASYNCJOBS_BATCH_SIZE: unknown variable; did you mean ASYNCJOBS_DISPATCHER__BATCH_SIZE?"),
        ("DATABASE", "x", "ASYNCJOBS_DATABASE: unknown variable; did you mean ASYNCJOBS_DATABASE_URL?"),
        ("database_url", "x", "ASYNCJOBS_database_url: unknown variable; did you mean ASYNCJOBS_DATABASE_URL?"),
        ("ENVIRONMENT", "x", "ASYNCJOBS_ENVIRONMENT: unknown variable; did you mean ASYNCJOBS_ENV?"),
        ("SOURCE", "x", "ASYNCJOBS_SOURCE: unknown variable; unset it (known: "),
        ("ZZZ", "x", "ASYNCJOBS_ZZZ: unknown variable; unset it (known: "),
    ],
)
def test_an_unknown_variable_is_warned_of_with_the_one_that_was_probably_meant(
    caplog, monkeypatch, name, text, expected
):
    monkeypatch.setenv(f"ASYNCJOBS_{name}", text)
    assert load() == Settings()
    [record] = caplog.records
    assert (record.name, record.levelname) == ("asyncjobs.settings", "WARNING")
    assert record.getMessage().startswith(expected)


def test_the_variables_that_kubernetes_makes_for_a_service_do_not_keep_a_worker_from_starting(monkeypatch):
    for name, text in (("SERVICE_HOST", "10.0.0.7"), ("PORT", "tcp://10.0.0.7:80"), ("PORT_80_TCP_PROTO", "tcp")):
        monkeypatch.setenv(f"ASYNCJOBS_WEB_{name}", text)
    settings, warnings = read()
    assert settings == Settings()
    assert len(warnings) == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"databse_url": "x"}, "argument databse_url: unknown key; did you mean database_url?"),
        ({"source": "x"}, "argument source: unknown key"),
        ({"_env_file": "x"}, "argument _env_file: unknown key"),
        ({"pools": [{"queues": ["a"], "concurrency": 0}]}, "argument pools[0].concurrency: 0 is not allowed"),
        ({"dispatcher": {"batch_size": 0}}, "argument dispatcher.batch_size: 0 is not allowed"),
        ({"lease": float("nan")}, "argument lease: nan is not a time"),
    ],
)
def test_a_problem_in_the_arguments_names_the_argument(problems, arguments, expected):
    found = problems(**arguments)
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_a_file_that_was_asked_for_and_cannot_be_read_is_a_problem(problems, monkeypatch, tmp_path):
    assert problems("gone.toml") == [
        "argument config: gone.toml: cannot be read: No such file or directory; give the path of a config file"
    ]
    assert problems(tmp_path)[0].startswith(f"argument config: {tmp_path}: cannot be read: Is a directory")
    monkeypatch.setenv("ASYNCJOBS_CONFIG", "gone.toml")
    assert problems(lease=0)[0].startswith("ASYNCJOBS_CONFIG: gone.toml: cannot be read")
    assert len(problems(lease=0)) == 2


def test_a_file_that_was_asked_for_must_be_ours(write, problems):
    write("[server]\n", "other.toml")
    assert problems("other.toml", environment="server") == [
        "other.toml:1: no [default] table, so this is no config file of asyncjobs; add one, or name another file"
    ]


def test_a_file_that_was_asked_for_must_have_default_as_a_table(write, problems):
    write("default = 1\n", "other.toml")
    assert problems("other.toml")[0].startswith("other.toml:1: no [default] table")
    write("[server\n", "other.toml")
    assert problems("other.toml")[0].startswith("other.toml:1: not TOML: ")


def test_a_config_toml_here_that_cannot_be_read_is_a_problem(write, problems, monkeypatch):
    write("[default]\n")

    def denied(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", denied)
    assert problems() == ["config.toml: cannot be read: Permission denied; give the path of a config file"]


def test_a_file_that_was_asked_for_must_be_text(problems, tmp_path):
    (tmp_path / "binary.toml").write_bytes(b"[default]\xff")
    assert problems("binary.toml") == ["binary.toml: not UTF-8 text; save it as UTF-8"]


def test_an_environment_that_the_file_does_not_have_is_a_problem_with_those_it_has(write, problems, monkeypatch):
    write("[default]\n[staging]\n[production]\n")
    assert problems(environment="prodution") == [
        (
            'argument environment: "prodution" is no environment of config.toml; '
            "did you mean production? (known: staging, production)"
        )
    ]
    monkeypatch.setenv("ASYNCJOBS_ENV", "qa")
    assert problems() == [
        'ASYNCJOBS_ENV: "qa" is no environment of config.toml; give one of staging, production, or add a [qa] table'
    ]


@pytest.mark.parametrize("name", ["development", "test"])
def test_an_environment_with_a_private_database_needs_no_table(write, name):
    write("[default]\n[production]\ndatabase_url = 'postgresql://db/app'\n")
    assert load(environment=name).environment == name


def test_only_tables_are_environments(write, problems):
    write("nonsense = 5\n[default]\n[production]\n[dispatcher]\n")
    assert problems(environment="nonsense")[-1].endswith("give one of production, or add a [nonsense] table")


def test_development_needs_no_table_and_a_file_without_environments_serves_any(write, problems):
    write("[default]\n[production]\n")
    assert problems(environment="development") == []
    write("[default]\n")
    assert problems(environment="anything") == []


@pytest.mark.parametrize("value", ["64MiB", "67108864", 64 << 20, " 64 MiB "])
def test_a_size_is_bytes_or_text_with_a_unit(value):
    assert Settings(max_recorded=value).max_recorded == 64 << 20


@pytest.mark.parametrize("value", ["64MB", "1GiB", "-1", 0, 1.5, True, "much"])
def test_a_size_that_is_none_or_out_of_bounds_is_refused_with_the_bounds(value):
    with pytest.raises(ValueError, match='give from 1MiB to 256MiB, as bytes or as text like "64MiB"'):
        Settings(max_recorded=value)


def test_a_fact_keeps_its_capitals():
    details = {"type": "url_scheme", "loc": (), "input": "x:y", "msg": "URL scheme should be 'http'"}
    assert loading._fact(details) == "\"x:y\" is not allowed; URL scheme should be 'http'"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('imports = ["jobs"]', "imports"),
        ('[production]\ndatabase_url = "postgresql://db/app"', "production.database_url"),
        ("[queues.mails]\nmax_depth = 100", "queues"),
    ],
)
def test_a_file_without_the_default_table_that_has_settings_is_said_not_to_be_read(write, text, found):
    write(text)
    settings, [warning] = read()
    assert settings == Settings()
    assert warning.startswith(f"config.toml is not read: it has {found}, and no [default] table")


@pytest.mark.parametrize("text", ['[params]\ntitle = "a site"', "no TOML", 'title = "a site"'])
def test_nothing_is_said_of_another_tools_file(write, text):
    write(text)
    assert read() == (Settings(), [])
