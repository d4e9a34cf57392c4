"""Who may do what: the table that SECURITY.md shows, `python -m tests.support.rights_matrix`, and whose every row is tried.

A statement stands for its row. `$job` is the id of a job that waits to be run, `$ended` that of one that has ended.
"""

from __future__ import annotations

from typing import NamedTuple

ROLES = ("nobody", "viewer", "enqueuer", "worker", "owner")
"""`nobody` is a login of the same database without any of the roles."""

ALL, LOOKING, WORKING, OWNING = ROLES[1:], ("viewer", "worker", "owner"), ("worker", "owner"), ("owner",)
ENQUEUING = ("enqueuer", "worker", "owner")

_ENDED = """insert into asyncjobs.finished (id, fence, expires_on, enqueued_at, attempt, priority, state, crashes, kind, queue, args)
            values (gen_random_uuid(), 1, current_date + 1, now(), 1, 0, 4, 0, 'k', 'q', '{}')"""


class Row(NamedTuple):
    """One thing that somebody may do, or not."""

    what: str
    sort: str
    """read, write or run."""
    roles: tuple[str, ...]
    """Those that may."""
    statements: tuple[str, ...]


MATRIX = (
    Row("which version the schema is", "read", ALL, ("select number from asyncjobs.migration",)),
    Row(
        "state, errors and steps of a job whose id is known", "read", ENQUEUING,
        ("select state from asyncjobs.status('$job')", "select state from asyncjobs.states(array['$job'::uuid])"),
    ),
    Row("how many jobs are ready in a queue", "read", ENQUEUING, ("select asyncjobs.depth('q', 10)", "select asyncjobs.placeless('[]')")),
    Row("the result of a job whose id is known", "read", ENQUEUING, ("select result from asyncjobs.ended(array['$ended'::uuid])",)),
    Row(
        "which jobs there are: ids, kinds, queues, tags, meta, errors, results, steps, workers", "read", LOOKING,
        ("select id from asyncjobs.job", "select id from asyncjobs.finished",
         "select id, kind, queue, errors, labels from asyncjobs.job", "select id, result, reason, labels from asyncjobs.finished",
         "select name, result from asyncjobs.step", "select about from asyncjobs.worker",
         "select id, error, result, enqueued_at, steps, labels from asyncjobs.job_status",
         """select id from asyncjobs.find('{"labels": ["t:a"], "states": [1]}', 10)""", "select asyncjobs.count('{}', 10)"),
    ),
    Row(
        "how many jobs have become ready and were claimed in all", "read", LOOKING,
        ("select last_value from asyncjobs.ready_seq", "select last_value from asyncjobs.fence_seq"),
    ),
    Row(
        "arguments, and which jobs have them", "read", WORKING,
        ("select args from asyncjobs.job", "select args from asyncjobs.finished", "select * from asyncjobs.job",
         "select args from asyncjobs.job_status", "select searchable from asyncjobs.job",
         "select searchable from asyncjobs.finished", "select searchable from asyncjobs.job_status",
         """select id from asyncjobs.find('{"searchable": [["a=1"]]}', 10)""",
         """select asyncjobs.count('{"arguments": {"a": [1]}}', 10)"""),
    ),
    Row(
        "what recurs, when, and what came of it", "read", LOOKING,
        ("select name, kind, schedule, next_at, trouble from asyncjobs.recurring", "select * from asyncjobs.recurring_tick"),
    ),
    Row("arguments of what recurs", "read", WORKING, ("select args from asyncjobs.recurring", "select job_order from asyncjobs.recurring", "select * from asyncjobs.recurring")),
    Row("payloads of events that nobody has waited for yet", "read", WORKING, ("select payload from asyncjobs.event",)),
    Row(
        "what is told by NOTIFY: names of queues, ids of workers, the times in the ids of jobs that are awaited", "read", ROLES,
        ("listen asyncjobs_ready", "listen asyncjobs_due", "listen asyncjobs_done", "listen asyncjobs_cancel",
         "listen asyncjobs_recurring"),
    ),
    Row("which kinds a login may enqueue", "read", OWNING, ("select * from asyncjobs.allowed_kind",)),
    Row(
        "a new job, ready or scheduled", "write", ENQUEUING,
        ("select asyncjobs.enqueue('app.any')", "select asyncjobs.enqueue('app.any', run_at => now() + interval '1 day')",
         """select asyncjobs.enqueue('app.any', args => '{"a": 1}', meta => '{"b": "c"}', tags => array['t'], searchable => array['a'])""",
         "select asyncjobs.enqueue_rows(array[gen_random_uuid()], array['{}'], '{}', '{}', '{}', '{}', '{}', 'k', 'q', '0', '{}')"),
    ),
    Row(
        "a job as it is stored: in any state, with a fence, with recorded steps", "write", WORKING,
        ("insert into asyncjobs.job (id, kind) values (gen_random_uuid(), 'k')",
         "insert into asyncjobs.job (id, kind, state) values (gen_random_uuid(), 'k', 2)",
         "insert into asyncjobs.job (id, kind, fence) values (gen_random_uuid(), 'k', 1)",
         "select asyncjobs.adopt(gen_random_uuid(), 'k', 'q', 0, '{}', '{}', '[]')",
         "insert into asyncjobs.step (job, n, name, state, attempt, started_at) values ('$job', 1, 's', 'succeeded', 1, now())"),
    ),
    Row("that somebody waits for a job whose id is known", "write", ENQUEUING, ("select asyncjobs.await_jobs(array['$job'::uuid])",)),
    Row("an event", "write", ENQUEUING, ("select asyncjobs.emit('approved', '7')",)),
    Row("a stored job, or its lock", "write", WORKING, (
        "update asyncjobs.job set queue = 'other'", "update asyncjobs.job set awaited = true", "delete from asyncjobs.job",
        "select id from asyncjobs.job for update",
    )),
    Row("that a job has ended, and how: a row of the history, for any id", "write", WORKING, (
        _ENDED,
    )),
    Row("how a job has ended, in the row that tells of it", "write", OWNING, (
        "update asyncjobs.finished set result = '1'", "delete from asyncjobs.finished",
    )),
    Row("what recurs: add, change, pause and remove it, run it, decide about its times", "write", WORKING, (
        "insert into asyncjobs.recurring (name, kind, schedule) values ('r', 'k', '@daily')",
        "update asyncjobs.recurring set paused_at = now()", "delete from asyncjobs.recurring",
        "insert into asyncjobs.recurring_tick (name, tick, came_to) values ('r', now(), 'by hand')",
        "insert into asyncjobs.recurring_version (version) values ('v')", "select * from asyncjobs.fire('[]')",
    )),
    Row("who works, and whose lease is over", "write", WORKING, (
        "insert into asyncjobs.worker (id, backend_pid, lease) values (gen_random_uuid(), 1, '1 s')",
        "update asyncjobs.worker set dead_at = now()",
    )),
    Row("which kinds a login may enqueue", "write", OWNING, ("insert into asyncjobs.allowed_kind values (current_user, 'k')",)),
    Row("tables, functions, migrations", "write", OWNING, (
        "create table asyncjobs.mine (n int)", "create function asyncjobs.mine() returns int language sql as 'select 1'",
        "truncate asyncjobs.job", "alter sequence asyncjobs.ready_seq restart", "delete from asyncjobs.migration",
    )),
    Row("cancel a job whose id is known", "run", ENQUEUING, ("select asyncjobs.cancel('$job')", "select * from asyncjobs.cancel_each(array['$job'::uuid])")),
    Row("retry and discard by hand", "run", WORKING, (
        "select * from asyncjobs.retry(array['$ended'::uuid], forced => true)", "select * from asyncjobs.discard(array['$job'::uuid])",
    )),
    Row("what limits and rates allow, and who has passed them", "read", LOOKING, (
        "select * from asyncjobs.limits", "select * from asyncjobs.limit_key", "select * from asyncjobs.limit_pass",
    )),
    Row("how many jobs the queues had when they were counted last", "read", LOOKING, (
        "select queues from asyncjobs.queue_figures",
    )),
    Row("the same", "write", WORKING, (
        "insert into asyncjobs.queue_figures (taken_at, queues) values (now(), '[]')", "update asyncjobs.queue_figures set taken_at = now()",
    )),
    Row("what is paused", "read", LOOKING, ("select name, until, reason, paused_by from asyncjobs.pause",)),
    Row("what was done in the dashboard, and by whom", "read", LOOKING, ("select * from asyncjobs.audit",)),
    Row("what is done in the dashboard", "write", WORKING, (
        "insert into asyncjobs.audit (who, action, scope, subject) values ('dana', 'retry', 'job', '1')",
    )),
    Row("pause and resume a queue or a kind", "run", WORKING, (
        "select asyncjobs.pause('queue', array['q'], null, null, '', '')", "select asyncjobs.resume('queue', array['q'])",
        "insert into asyncjobs.pause (scope, name) values ('queue', 'other')",
    )),
    Row("claim and run jobs", "run", WORKING, (
        "select nextval('asyncjobs.fence_seq')", "update asyncjobs.job set state = 2, fence = 1, worker = gen_random_uuid()",
        "select asyncjobs.begin_wait('$job', 0, 1, 's', null, '', 1, null)", "select asyncjobs.fold_steps('$job')",
    )),
    Row("make room in the history, and drop what is past its retention", "run", WORKING, (
        "select asyncjobs.make_partitions(current_date + 40)", "select asyncjobs.drop_expired()",
    )),
)  # fmt: skip


def markdown() -> str:
    """Return the table."""
    lines = [f"| | | {' | '.join(ROLES)} |", f"|---|---|{':-:|' * len(ROLES)}"]
    lines += [
        f"| {row.sort} | {row.what} | {' | '.join('yes' if role in row.roles else '–' for role in ROLES)} |"
        for row in MATRIX
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
