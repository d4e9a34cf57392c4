import os

import pytest

from asyncjobs.exceptions import InvalidSettings
from asyncjobs.settings import load


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    for name in os.environ:
        if name.startswith("ASYNCJOBS_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path):
    def write(text, name="config.toml"):
        (tmp_path / name).write_text(text)

    return write


@pytest.fixture
def problems():
    """The problems of one load, or none."""

    def problems(config=None, **arguments):
        try:
            load(config, **arguments)
        except InvalidSettings as error:
            return error.problems
        return []

    return problems
