"""`asyncjobs limits list|set`, and what `check` and `doctor` say of limits."""

import asyncio
import json

from asyncjobs.cli.doctor import limit_findings
from asyncjobs.db.limiting import LimitRow

STORED = """
insert into asyncjobs.limits (name, most, most_by_config, most_by_hand, spacing, burst, said_at) values
  ('a.code', 1, null, null, null, null, now()), ('b.config', 2, 5, null, null, null, now()),
  ('c.hand', 3, 5, 7, null, null, now()), ('d.rate', null, null, null, 0.6, 100, now()),
  ('e.stopped(n)', 4, 0, null, null, null, '-infinity')
"""
KEY = "insert into asyncjobs.limit_key (key, name, most) values ('b.config 7', 'b.config', 9), ('b.config 8', 'b.config', null)"


async def test_each_is_shown_with_who_says_so(cli, sql, make_cli, as_role):
    assert "no limits" in (await asyncio.to_thread(cli, "limits", "list")).stdout
    await sql(STORED)
    await sql(KEY)
    lines = [line.split() for line in (await asyncio.to_thread(cli, "limits", "list")).stdout.splitlines()]
    assert lines == [
        ["limit", "at", "once", "says", "code", "config", "by", "hand", "rate"],
        ["a.code", "1", "by", "code", "1"],
        ["b.config", "5", "by", "config", "2", "5"],
        ["b.config", "7", "9", "by", "hand", "2", "5", "9"],
        ["c.hand", "7", "by", "hand", "3", "5", "7"],
        ["d.rate", "one", "in", "600ms,", "100", "at", "once", "after", "a", "pause"],
        ["e.stopped(n)", "0", "by", "config", "4", "0"],
    ]
    rows = await asyncio.to_thread(make_cli(as_role["looker"]).json, "limits", "list")
    assert rows[2] == {
        "name": "b.config 7", "code": 2, "config": 5, "by_hand": 9, "spacing": None, "burst": None, "is_said": True, "most": 9,
        "said_by": "hand",
    }  # fmt: skip
    assert [(row["most"], row["said_by"], row["is_said"]) for row in rows[4:]] == [
        (None, "code", True),
        (0, "config", False),
    ]
    found = await asyncio.to_thread(cli.json, "doctor")
    assert [each["verdict"] for each in found if each["check"] == "limits"] == ["ok", "ok", "ok", "warn"]
    refused = await asyncio.to_thread(make_cli(as_role["web"]), "limits", "list", code=3)
    assert "takes the role asyncjobs_viewer" in refused.stderr


async def test_they_are_set_and_set_back(cli, sql):
    def ask(*words, code=0):
        return asyncio.to_thread(cli, "limits", "set", *words, code=code)

    await sql(STORED)
    assert (await ask("a.code", "4")).stdout == "a.code: 4 at once\n"
    assert (await ask("c.hand", "default")).stdout == "c.hand: what the configuration or the code says\n"
    shown = {row["name"]: (row["most"], row["said_by"]) for row in await asyncio.to_thread(cli.json, "limits", "list")}
    assert (shown["a.code"], shown["c.hand"]) == ((4, "hand"), (5, "config"))
    assert "give one from 0, or the word default" in (await ask("a.code", "many", code=2)).stderr
    assert "from 0 to 1000000" in (await ask("a.code", "1000001", code=2)).stderr
    assert "is no limit's" in (await ask("nosuch", "1", code=2)).stderr


def test_doctor_tells_of_those_for_which_others_than_the_code_speak():
    def judged(**said):
        given = {
            "name": "x",
            "code": 3,
            "config": None,
            "by_hand": None,
            "spacing": None,
            "burst": None,
            "is_said": True,
        }
        return [(found.verdict, found.text) for found in limit_findings([LimitRow(**{**given, **said})])]

    assert judged() == judged(code=None, spacing=1.0, burst=1) == []
    assert judged(config=5) == [("ok", "x is 5 at once by config, in place of 3 by code")]
    assert judged(config=5, by_hand=1) == [("ok", "x is 1 at once by hand, in place of 5 by config, 3 by code")]
    assert judged(config=0) == [
        ("warn", "x is 0 at once by config, in place of 3 by code, so nothing of it starts: change it there")
    ]
    [(verdict, text)] = judged(by_hand=0)
    assert (verdict, text.partition(": ")[2]) == ("warn", "set another by `asyncjobs limits set`")


def test_check_warns_of_a_limit_that_no_job_is_under(cli, project):
    path = project / "config.toml"
    path.write_text(path.read_text() + '[default.limits]\n"cli_jobs.add" = 3\n')
    said = json.loads(cli("check", "--json").stdout)
    assert said["problems"] == []
    [warning] = said["warnings"]
    assert warning.startswith(
        f"{path}:9: default.limits.cli_jobs.add: no job defined here is under a limit 'cli_jobs.add'"
    )
