"""The locks alone: what is too narrow to be met by chance."""

import asyncio
import os

import pytest

from asyncjobs.embedded import locks
from asyncjobs.embedded.locks import FileLock, turn
from asyncjobs.exceptions import DatabaseUnavailable


async def test_a_lock_on_a_file_that_was_removed_meanwhile_is_no_turn(tmp_path, monkeypatch):
    path = tmp_path / "start.lock"
    taken = []

    def remove_first(self):
        if not taken:
            path.unlink()
        taken.append(self.fd)
        return real(self)

    real = FileLock.try_exclusive
    monkeypatch.setattr(FileLock, "try_exclusive", remove_first)
    async with turn(path, lambda: None):
        assert len(taken) == 2
        assert path.exists()


async def test_a_turn_that_never_comes_is_given_up_with_the_name_of_its_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "TURN_TIMEOUT", 0.1)
    async with turn(tmp_path / "start.lock", lambda: None):
        with pytest.raises(DatabaseUnavailable, match="start.lock"):
            async with turn(tmp_path / "start.lock", lambda: None):
                pass


async def test_waiting_for_a_turn_can_be_cancelled(tmp_path):
    async def wait():
        async with turn(tmp_path / "start.lock", lambda: None):
            pass

    async with turn(tmp_path / "start.lock", lambda: None):
        waiting = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with turn(tmp_path / "start.lock", lambda: None):
        pass


def test_children_inherit_no_lock_and_no_symlink_is_followed(tmp_path):
    with FileLock(tmp_path / "users.lock") as lock:
        assert not os.get_inheritable(lock.fd)
    (tmp_path / "link.lock").symlink_to(tmp_path / "users.lock")
    with pytest.raises(OSError, match="link"):
        FileLock(tmp_path / "link.lock")
