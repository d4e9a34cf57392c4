"""Words that other systems use for options, and the options that errors propose in their place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

_MEANT = {
    "wait": ("delay", "countdown", "defer_by", "defer", "in_", "wait_time", "backoff", "interval", "seconds"),
    "at": ("eta", "run_at", "defer_until", "wait_until", "scheduled_at", "scheduled_for", "when"),
    "attempts": ("retries", "max_retries", "max_attempts", "tries", "max_tries", "times", "limit"),
    "errors": ("exceptions", "autoretry_for"),
    "queue": ("queue_name", "queue_as", "channel", "routing_key"),
    "kind": ("name", "task_name", "job_name", "key"),
    "timeout": ("time_limit", "job_timeout", "max_runtime", "deadline"),
    "unique": ("unique_for", "lock", "queueing_lock", "job_key", "dedupe_key", "singleton", "idempotency_key"),
    "concurrency": (
        "concurrency_limit",
        "limits_concurrency",
        "max_concurrency",
        "limit_concurrency",
        "group_key",
        "limit",
        "threads",
    ),
    "rate_limit": ("rate", "throttle", "requests_per_second", "limiter"),
    "window": ("ttl", "period", "unique_for", "unique_window", "seconds", "within", "expires_in"),
    "expires_in": ("expires", "ttl", "expire", "job_ttl"),
    "retention": ("result_ttl", "keep_result", "results_ttl", "store_results"),
    "connection": ("conn", "session", "transaction", "using", "db"),
    "isolated": ("atomic", "transaction", "in_transaction", "transactional"),
    "when": ("if_", "condition", "only_if"),
    "unless": ("skip_if", "unless_"),
    "database_url": ("url", "dsn", "uri", "database", "db_url", "postgres_url", "connection_string", "broker"),
    "database_connections": ("pool_size", "max_connections"),
    "environment": ("env",),
    "config": ("config_file", "config_path", "settings"),
    "imports": ("modules", "include", "import_paths"),
    "pools": ("workers",),
    "schedule": ("cron", "crontab", "every"),
    "timezone": ("tz", "time_zone"),
    "job": ("class", "task"),
    "state": ("status", "states"),
    "by": ("key", "keys", "fields", "on"),
    "arguments": ("args", "kwargs", "params", "parameters"),
    "error": ("exception", "exc_type", "exc"),
    "tag": ("labels", "label"),
    "of": ("total", "maximum", "max", "out_of"),
    "note": ("message", "text", "description", "msg"),
}
_ELSEWHERE = {
    "attempts": "the number of attempts is set by @retry_on(Error, attempts=…)",
    "wait": "the wait before a retry is set by @retry_on(Error, wait=…), the time of a job by job.set(wait=…)",
    "at": "the time of a job is set by job.set(at=…)",
    "connection": "connection= belongs to job.enqueue(connection=…)",
    "per": "starts in a time are limited by Rate(10, per=60)",
    "max_depth": "the ready jobs of a queue are limited in config.toml, [default.queues.NAME]",
    "aging": "aging of waiting jobs is set for a pool in config.toml, [[default.pools]]",
}


def say_where(belongs: Mapping[str, str]) -> None:
    """Add the places of options, for errors about an option that is given elsewhere."""
    _ELSEWHERE.update({name: f"{name}= belongs to {place}" for name, place in belongs.items()})


def ours(word: str, known: Iterable[str]) -> list[str]:
    """Return the words of `known` that other systems call `word`."""
    known = set(known)
    return [each for each, theirs in _MEANT.items() if each in known and word.lower() in theirs]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the dotted name that `name` was probably meant to be; a name without a module is compared without one."""
    names = sorted(known)
    ends = {each.rpartition(".")[2]: each for each in names}
    near = get_close_matches(name, names, n=1)
    return near[0] if near else next(map(ends.__getitem__, get_close_matches(name, ends, n=1)), None)


def unknown(where: str, word: str, known: Iterable[str]) -> str:
    """Return the message that a call takes no option of this name, and what to write instead."""
    known = list(known)
    place = next((_ELSEWHERE[each] for each in (word, *ours(word, _MEANT)) if each in _ELSEWHERE), None)
    # A word that belongs elsewhere is meant so, unless an option begins with the same letter: people misspell endings.
    near = [
        each for each in get_close_matches(word.lower(), known, n=1) if place is None or each[0] == word[:1].lower()
    ]
    if found := ours(word, known) or near:
        return f"{where} has no option {word!r}: write {found[0]}=…; there are {', '.join(known)}"
    remedy = f": {place}" if place else ""
    return f"{where} has no option {word!r}{remedy}; there are {', '.join(known) or 'none'}"
