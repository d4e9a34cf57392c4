"""What notices may do to the dispatcher: names that are new, foreign, or none."""

import asyncio

import pytest

from asyncjobs.settings import Pool as PoolSettings
from asyncjobs.worker.claiming import wakeups
from asyncjobs.worker.claiming.wakeups import MOST_NEW, Wakeups
from asyncjobs.worker.slots.pools import Pool


def serving(*queues: str) -> Wakeups:
    return Wakeups([Pool(1, PoolSettings(queues=queues, concurrency=1), 10)])


def test_the_least_seq_of_a_queue_is_kept() -> None:
    woken = serving("mail*")
    for payload in ("7 mailers", "5 mailers", "6 mailers", "9 mailing"):
        woken.notified(payload)
    assert woken.take_news() == {"mailers": 5, "mailing": 9}
    assert woken.take_news() == {}


@pytest.mark.parametrize(
    "payload", ["", "x", "1 ", "-1 mail", "9" * 20 + " mail", f"1 mail{'l' * 100}", "1 mail\x1b[31m"]
)
def test_what_no_statement_of_ours_sends_is_no_news(payload: str) -> None:
    woken = serving("mail*")
    woken.notified(payload)
    assert woken.take_news() == {}


def test_new_names_are_believed_up_to_a_number_and_then_the_database_is_to_be_asked() -> None:
    woken = serving("*", "-bulk*")
    for number in range(MOST_NEW * 50):
        woken.notified(f"1 q{number}")
    assert len(woken.take_news()) == MOST_NEW
    assert woken.needs_look
    woken.looked(["mail"])
    assert not woken.needs_look
    for payload in ("1 mail", "1 bulk", "1 q3"):
        woken.notified(payload)
    assert woken.take_news() == {"mail": 1, "q3": 1}


def test_a_named_queue_is_heard_of_whatever_else_is_named() -> None:
    woken = serving("mail", "x*")
    for number in range(MOST_NEW * 2):
        woken.notified(f"1 x{number}")
    woken.notified("3 mail")
    assert woken.take_news()["mail"] == 3
    woken.looked([])
    woken.notified("4 mail")
    assert woken.take_news() == {"mail": 4}


def test_foreign_names_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wakeups, "MOST_FOREIGN", 300)
    woken = serving("mail*")
    for number in range(5_000):
        woken.notified(f"1 other{number}")
        if woken.needs_look:
            woken.looked([])
    assert len(woken._foreign) <= 300 + MOST_NEW
    assert woken.take_news() == {}


async def test_workers_that_are_not_chosen_act_later_with_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    woken = serving("*")
    woken.alive, woken.rank = 10, 0
    timers: list[object] = []
    monkeypatch.setattr(loop, "call_later", lambda _delay, function: timers.append(function))
    for seq in (5, 15, 25, 35):
        woken.notified(f"{seq} mail")
    assert woken.take_news() == {}
    assert len(timers) == 1
    woken._take_later()
    assert woken.take_news() == {"mail": 5}
