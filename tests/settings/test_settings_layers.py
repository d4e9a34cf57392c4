import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from asyncjobs.settings import Dispatcher, Pool, Settings, load
from tests.support import warm

FILE = """
[default]
lease = 10
retention = "1d"
imports = ["a", "b"]
[default.dispatcher]
batch_size = 100
polling_interval = 2
[[default.pools]]
queues = ["one"]
concurrency = 1
[[default.pools]]
queues = ["two"]
concurrency = 2

[development]
[production]
lease = 20
imports = ["c"]
[production.dispatcher]
batch_size = 200
[[production.pools]]
queues = ["three"]
concurrency = 3
"""


def test_without_any_source_the_documented_defaults_hold():
    settings = load()
    assert settings == Settings(
        environment="development",
        source=None,
        imports=(),
        database_url="",
        database_connections=10,
        shutdown_timeout=25,
        cleanup_timeout=5,
        loop_warning=0.2,
        version_grace=600,
        retention=604800,
        lease=30,
        dispatcher=Dispatcher(polling_interval=1, batch_size=500),
        pools=(Pool(queues=("*",), concurrency=10, processes=1, order="strict", weights={}),),
        log_level="info",
        log_format="text",
    )


PRODUCTION = '[default]\n[staging]\n[production]\ndatabase_url = "postgresql://app@db.internal/app"\n'


def test_an_environment_that_was_perhaps_forgotten_is_warned_of(write, caplog, monkeypatch):
    write(PRODUCTION)
    load()
    [warning] = caplog.messages
    assert "ASYNCJOBS_ENV is not set" in warning
    assert "of [production] in config.toml: set ASYNCJOBS_ENV=production" in warning
    caplog.clear()
    load(environment="development")
    load(database_url="postgresql://u@h/d")
    load(environment="production")
    monkeypatch.setenv("ASYNCJOBS_ENV", "development")
    load()
    monkeypatch.delenv("ASYNCJOBS_ENV")
    write(PRODUCTION.replace("[production]", "[test]"))
    load()
    write(PRODUCTION.replace("[default]", '[default]\ndatabase_url = "postgresql://u@h/d"'))
    load()
    assert caplog.messages == []


@pytest.mark.processes
def test_without_any_logging_the_warning_is_on_standard_error(write, tmp_path):
    write(PRODUCTION)
    write("from asyncjobs.settings import load; load()", "program.py")
    done = warm.run([sys.executable, "program.py"], cwd=tmp_path, check=True)
    assert done.stderr.count("ASYNCJOBS_ENV is not set") == 1


def test_an_environment_inherits_default_tables_merge_and_lists_replace(write):
    write(FILE)
    settings = load(environment="production")
    assert settings.environment == "production"
    assert settings.lease == 20
    assert settings.retention == 86400
    assert settings.imports == ("c",)
    assert settings.dispatcher == Dispatcher(batch_size=200, polling_interval=2)
    assert settings.pools == (Pool(queues=("three",), concurrency=3),)


def test_default_alone_holds_where_the_environment_says_nothing(write):
    write(FILE)
    settings = load()
    assert (settings.environment, settings.lease, len(settings.pools)) == ("development", 10, 2)


def test_each_source_wins_over_the_ones_below(write, monkeypatch):
    write(FILE)
    assert load(environment="production").lease == 20
    monkeypatch.setenv("ASYNCJOBS_LEASE", "30s")
    assert load(environment="production").lease == 30
    assert load(environment="production", lease="40").lease == 40


def test_a_nested_variable_changes_its_key_only(write, monkeypatch):
    write(FILE)
    monkeypatch.setenv("ASYNCJOBS_DISPATCHER__BATCH_SIZE", "7")
    assert load().dispatcher == Dispatcher(batch_size=7, polling_interval=2)
    monkeypatch.setenv("ASYNCJOBS_DISPATCHER", '{"batch_size": 8, "polling_interval": "500ms"}')
    assert load().dispatcher == Dispatcher(batch_size=7, polling_interval=0.5)


def test_a_schedule_is_written_in_variables_whole_or_key_by_key(write, monkeypatch):
    write(FILE)
    monkeypatch.setenv(
        "ASYNCJOBS_RECURRING__REPORT", '{"job": "app.report", "schedule": "@daily", "args": {"days": 1}}'
    )
    monkeypatch.setenv("ASYNCJOBS_RECURRING__REPORT__ARGS", '{"days": 7}')
    monkeypatch.setenv("ASYNCJOBS_RECURRING__REPORT__ARGS__TOP", "3")
    monkeypatch.setenv("ASYNCJOBS_RECURRING__REPORT__ARGS__TITLE", "Week")
    monkeypatch.setenv("ASYNCJOBS_RECURRING__REPORT__PRIORITY", "5")
    monkeypatch.setenv("ASYNCJOBS_RECURRING__REPORT__ENABLED", "false")
    report, args = load().recurring["report"], {"days": 7, "top": 3, "title": "Week"}
    assert (report.schedule, report.args, report.priority, report.enabled) == ("@daily", args, 5, False)


def test_modules_are_written_in_a_variable_as_a_list_or_with_commas(write, monkeypatch):
    write(FILE)
    for text in ("app.timing, app.tracing", '["app.timing", "app.tracing"]'):
        monkeypatch.setenv("ASYNCJOBS_MIDDLEWARE", text)
        assert load().middleware == ("app.timing", "app.tracing")


def test_a_nested_argument_changes_its_key_only(write):
    write(FILE)
    assert load(dispatcher={"batch_size": 7}).dispatcher == Dispatcher(batch_size=7, polling_interval=2)
    assert load(dispatcher=Dispatcher(batch_size=7)).dispatcher == Dispatcher(batch_size=7, polling_interval=2)


def test_pools_are_json_in_the_environment_and_objects_or_dicts_in_arguments(monkeypatch):
    monkeypatch.setenv("ASYNCJOBS_POOLS", '[{"queues": ["a"], "concurrency": 4, "processes": "2"}]')
    assert load().pools == (Pool(queues=("a",), concurrency=4, processes=2),)
    pool = Pool(queues=("b",), concurrency=1)
    assert load(pools=[pool, {"queues": ["c"], "concurrency": 2}]).pools == (pool, Pool(queues=("c",), concurrency=2))


@pytest.mark.parametrize(
    "text", ["app.jobs,app.mails", ' ["app.jobs", "app.mails"]', " app.jobs , app.mails, ", '["app.jobs", "app.mails"]']
)
def test_imports_are_comma_separated_or_json_in_the_environment(monkeypatch, text):
    monkeypatch.setenv("ASYNCJOBS_IMPORTS", text)
    assert load().imports == ("app.jobs", "app.mails")


def test_an_empty_variable_is_not_set(write, monkeypatch):
    write('[default]\ndatabase_url = "postgresql:///kept"\n')
    for name in ("DATABASE_URL", "LEASE", "POOLS", "ENV", "CONFIG", "NONSENSE"):
        monkeypatch.setenv(f"ASYNCJOBS_{name}", "")
    monkeypatch.setenv("ASYNCJOBS_LEASE", " ")
    assert load().database_url == "postgresql:///kept"


def test_a_log_level_may_be_written_in_capitals():
    assert load(log_level="INFO").log_level == "info"


def test_an_argument_that_is_none_is_not_given_and_an_empty_one_is(write):
    write('[default]\ndatabase_url = "postgresql:///kept"\n')
    assert load(database_url=None).database_url == "postgresql:///kept"
    assert load(database_url="").database_url == ""


def test_only_the_prefixed_variable_names_the_database(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/db")
    assert load().database_url == ""
    monkeypatch.setenv("ASYNCJOBS_DATABASE_URL", "postgresql://here/db")
    assert load().database_url == "postgresql://here/db"


@pytest.mark.parametrize("name", ["PG_BIN", "TEST_DATABASE_URL", "WORKER_NAME", "WORKER_"])
def test_variables_of_other_parts_are_left_alone(monkeypatch, name):
    monkeypatch.setenv(f"ASYNCJOBS_{name}", "x")
    load()


def test_the_environment_is_the_argument_else_the_variable_else_development(monkeypatch):
    assert load().environment == "development"
    monkeypatch.setenv("ASYNCJOBS_ENV", "staging")
    assert load().environment == "staging"
    assert load(environment="production").environment == "production"


def test_the_file_is_the_argument_else_the_variable_else_config_toml_here(write, monkeypatch, tmp_path):
    assert load().source is None
    for number, name in enumerate(["config.toml", "variable.toml", "argument.toml"], 1):
        write(f"[default]\nlease = {number}\n", name)
    assert (load().lease, load().source) == (1, tmp_path / "config.toml")
    monkeypatch.setenv("ASYNCJOBS_CONFIG", "variable.toml")
    assert load().lease == 2
    assert (load("argument.toml").lease, load(Path("argument.toml")).source) == (3, tmp_path / "argument.toml")


@pytest.mark.parametrize("text", ["[server]\nport = 1\n", "default = 1\n", "[server\n", "\udcff"])
def test_a_config_toml_of_another_tool_is_left_alone(tmp_path, text):
    (tmp_path / "config.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert load().source is None


def test_a_directory_named_config_toml_is_left_alone(tmp_path):
    (tmp_path / "config.toml").mkdir()
    assert load().source is None


def test_default_may_be_written_with_dotted_keys_and_after_a_byte_order_mark(tmp_path):
    (tmp_path / "config.toml").write_bytes(b"\xef\xbb\xbfdefault.lease = 9\r\ndefault.dispatcher.batch_size = 3\r\n")
    assert (load().lease, load().dispatcher.batch_size) == (9, 3)


def test_constructing_settings_reads_neither_environment_nor_file(write, monkeypatch):
    write(FILE)
    monkeypatch.setenv("ASYNCJOBS_LEASE", "77")
    assert Settings().lease == 30


def test_settings_are_frozen_and_survive_pickling(write):
    write(FILE)
    settings = load(database_url="postgresql://u:secret@h/d")
    with pytest.raises(ValueError, match="frozen"):
        settings.lease = 1
    with pytest.raises(ValueError, match="frozen"):
        settings.pools[0].concurrency = 1
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_the_fields_that_were_given_are_known(write):
    write("[default]\nlog_format = 'text'\n")
    assert "log_format" in load().model_fields_set
    assert "log_level" not in load().model_fields_set


SPY = """
import os, sys

class Spy(dict):
    def __getitem__(self, name):
        seen.append(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        seen.append(name)
        return super().get(name, default)

    def items(self):
        seen.append("ASYNCJOBS_ all")
        return super().items()

def hook(event, arguments):
    if event == "open" and "config.toml" in str(arguments[0]):
        seen.append("ASYNCJOBS_ file")

seen = []
sys.addaudithook(hook)
os.environ = Spy(os.environ)
import asyncjobs.settings
print([name for name in seen if str(name).startswith("ASYNCJOBS_")])
asyncjobs.settings.load()
print(sorted({name for name in seen if str(name).startswith("ASYNCJOBS_")}))
"""


@pytest.mark.processes
def test_importing_settings_reads_neither_environment_nor_file_and_loading_reads_both(write, tmp_path):
    write("[default]\n")
    done = subprocess.run(
        [sys.executable, "-c", SPY],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert first == "[]"
    assert second == "['ASYNCJOBS_ all', 'ASYNCJOBS_ file', 'ASYNCJOBS_CONFIG', 'ASYNCJOBS_ENV']"
