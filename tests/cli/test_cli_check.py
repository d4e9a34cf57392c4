"""`asyncjobs check` and `asyncjobs init`."""

import json
import os
import tomllib

import pytest

import asyncjobs
from asyncjobs.settings import load
from tests.support.imports import imported_by


def test_check_prints_what_would_run_and_needs_no_database(make_cli):
    cli = make_cli("postgresql://u@127.0.0.1:1/x")
    shown = cli("check").stdout
    assert "config.toml (development)" in shown
    assert "cli_jobs.Greet" in shown
    what = cli.json("check")
    assert what["problems"] == []
    assert what["pools"] == [{"queues": ["*"], "concurrency": 10, "processes": 1}]
    assert {kind["kind"] for kind in what["kinds"]} >= {"cli_jobs.add", "cli_jobs.Greet"}


def test_check_lists_every_problem_at_once_with_its_line(make_cli):
    cli = make_cli()
    (cli.directory / "odd.py").write_text(
        "from asyncjobs import job\n\n\n@job\nasync def one(x: Nowhere) -> None: ...\n\n\n"
        "@job\nasync def two() -> Nowhere: ...\n".replace(
            "from asyncjobs", "from __future__ import annotations\nfrom asyncjobs"
        )
    )
    (cli.directory / "broken.py").write_text("\n\nraise ValueError('no')\n")
    (cli.directory / "config.toml").write_text('[default]\nimports = [\n  "odd",\n  "absent",\n]\n')
    done = cli("check", "broken", code=2)
    lines = done.stderr.splitlines()
    assert any("broken.py:3" in line and "ValueError: no" in line for line in lines)
    assert any("config.toml:4: imports: there is no module 'absent'" in line for line in lines)
    assert any("odd.py:5: " in line and "Nowhere" in line for line in lines)
    assert len(lines) == 4
    assert any("odd.py:9: " in line for line in lines)
    (cli.directory / "config.toml").write_text(
        '[default]\nshutdown_timout = 3\n[[default.pools]]\nqueues = ["*"]\nconcurrency = 0\n'
    )
    done = cli("check", "absent", code=2)
    assert "config.toml:2: " in done.stderr
    assert "did you mean shutdown_timeout?" in done.stderr
    assert "config.toml:5: " in done.stderr
    assert "'absent'" in done.stderr
    assert len(json.loads(cli("check", "absent", "--json", code=2).stdout)["problems"]) == 3


@pytest.mark.parametrize("command", ["check", "run"])
def test_every_setting_that_cannot_work_is_named_at_once_with_the_remedy(make_cli, command):
    cli = make_cli("mysql://u:canary7@h/d")
    pools = [{"queues": ["a"], "concurrency": number} for number in (0, -1, 10_001)]
    cli.environment |= {
        "ASYNCJOBS_POOLS": json.dumps(pools),
        "ASYNCJOBS_LEASE": "0",
        "ASYNCJOBS_DISPATCHER__POLLING_INTERVAL": "0",
        "ASYNCJOBS_CONCURENCY": "5",
    }
    done = cli(command, code=2)
    assert "canary7" not in done.stderr
    assert sorted(line.removeprefix("asyncjobs: ").partition("; ")[0] for line in done.stderr.splitlines()) == [
        "ASYNCJOBS_CONCURENCY: unknown variable",
        'ASYNCJOBS_DATABASE_URL: "mysql" is not supported',
        'ASYNCJOBS_DISPATCHER__POLLING_INTERVAL: "0" is not allowed',
        'ASYNCJOBS_LEASE: "0" is not allowed',
        "ASYNCJOBS_POOLS: pools[0].concurrency: 0 is not allowed",
        "ASYNCJOBS_POOLS: pools[1].concurrency: -1 is not allowed",
        "ASYNCJOBS_POOLS: pools[2].concurrency: 10001 is not allowed",
    ]


PLACES = {
    "Python's own code": ("import os\nSECRET = os.environ['SHOP_SECRET']\n", "mine.py:2"),
    "its own code, called by a package's": (
        "import package\n\ndef bad():\n    raise LookupError\n\npackage.call(bad)\n",
        "mine.py:4",
    ),
    "a package's": ("import package\npackage.call(None)\n", "mine.py:2"),
    "another module's": ("import other\n", "other.py:2"),
    "code that was made from text": ("exec('raise LookupError')\n", "mine.py:1"),
    "text that is no code": ("import ast\nast.parse('a b')\n", "mine.py:2"),
}


def test_the_place_of_an_import_error_is_the_users_innermost_line(make_cli, tmp_path):
    cli = make_cli()
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "package.py").write_text("def call(function):\n    return function()\n")
    cli.environment["PYTHONPATH"] = os.pathsep.join([os.environ["PYTHONPATH"], str(packages)])
    (cli.directory / "other.py").write_text("import json\njson.loads('{')\n")
    expected = {}
    for number, (code, (text, place)) in enumerate(PLACES.items()):
        for directory, module in ((cli.directory, f"mine{number}"), (packages, f"installed{number}")):
            (directory / f"{module}.py").write_text(text)
            expected[module] = f"{place.replace('mine', module)})", code
    lines = cli("check", *expected, code=2).stderr.splitlines()
    for module, (place, code) in expected.items():
        [line] = [line for line in lines if f" {module} cannot be imported" in line]
        assert place in line, (code, line)


def test_a_definition_that_is_refused_is_named_with_its_line(make_cli):
    cli = make_cli()
    (cli.directory / "steps.py").write_text("from asyncjobs import step\n\n\nwrong = step(retry=3)\n")
    assert "steps.py:4)" in cli("check", "steps", code=2).stderr


def test_a_module_that_cannot_be_imported_is_named_with_the_place_that_names_it(make_cli):
    cli = make_cli()
    (cli.directory / "config.toml").write_text('[default]\nimports = ["cli_jobs"]\n[staging]\nimports = ["absent"]\n')
    cli.environment["ASYNCJOBS_ENV"] = "staging"
    assert "config.toml:4: imports: there is no module 'absent'" in cli("check", code=2).stderr
    cli.environment["ASYNCJOBS_IMPORTS"] = "gone"
    assert cli("check", code=2).stderr.startswith("asyncjobs: imports: there is no module 'gone'")


def test_an_unknown_variable_is_warned_of_and_changes_nothing(make_cli, url):
    cli = make_cli(url)
    cli.environment["ASYNCJOBS_LEESE"] = "5"
    said = "ASYNCJOBS_LEESE: unknown variable; did you mean ASYNCJOBS_LEASE?"
    assert cli("check").stderr == f"asyncjobs: {said}\n"
    assert cli.json("check")["warnings"] == [said]
    assert {"verdict": "warn", "check": "settings", "text": said} in cli.json("doctor")
    logged = [json.loads(line) for line in cli("run", "--burst").stderr.splitlines()]
    assert [(line["level"], line["message"]) for line in logged if said in line["message"]] == [("warning", said)]


@pytest.fixture
def new(make_cli, tmp_path):
    cli = make_cli()
    cli.directory = tmp_path / "new"
    cli.directory.mkdir()
    return cli


def test_init_writes_through_no_link(new, tmp_path):
    (new.directory / "jobs.py").symlink_to(tmp_path / "elsewhere.py")
    assert "jobs.py exists already" in new("init", code=2).stderr
    assert not (tmp_path / "elsewhere.py").exists()


def test_init_writes_files_that_work_and_overwrites_nothing_unless_told_to(new, monkeypatch):
    done = new("init")
    assert "asyncjobs run" in done.stdout
    assert tomllib.loads((new.directory / "config.toml").read_text())
    monkeypatch.chdir(new.directory)
    assert load().imports == ("jobs",)
    assert "jobs.welcome" in new("check").stdout
    (new.directory / "jobs.py").write_text("mine")
    (new.directory / "config.toml").unlink()
    refused = new("init", code=2)
    assert "jobs.py exists already: nothing was written" in refused.stderr
    assert not (new.directory / "config.toml").exists()
    new("init", "--force")
    assert (new.directory / "jobs.py").read_text() != "mine"
    new("init", "deeper/still")
    assert (new.directory / "deeper/still/config.toml").exists()


def test_the_version_is_printed(new):
    assert new("--version").stdout == f"asyncjobs {asyncjobs.__version__}\n"


def test_without_a_command_the_commands_are_shown(new):
    done = new("--help")
    for command in ("run", "check", "enqueue", "status", "doctor", "init", "jobs", "queues", "db"):
        assert f" {command} " in done.stdout
    new("nonsense", code=2)
    new("run", "--nonsense", code=2)


def test_importing_asyncjobs_loads_no_part_of_the_command_line():
    assert [name for name in imported_by("asyncjobs") if name.partition(".")[0] in ("typer", "rich")] == []
