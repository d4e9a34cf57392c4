"""The lock file of the gate's own dependencies: whole, hashed, and of what pyproject.toml asks for."""

import re
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.workers import ROOT

LOCKED = (ROOT / ".ci" / "requirements.txt").read_text()


def asked_for() -> Iterator[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    gate = [line for line in (ROOT / ".ci" / "gate.in").read_text().splitlines() if not line.startswith("#")]
    for text in [*project["dependencies"], *extras["postgres"], *extras["dev"], *gate]:
        requirement = Requirement(text)
        if requirement.name != project["name"]:
            yield requirement


@pytest.mark.parametrize("requirement", list(asked_for()), ids=str)
def test_what_is_asked_for_is_locked_in_a_version_that_fits(requirement: Requirement) -> None:
    versions = dict(re.findall(r"^(\S+?)==(\S+)", LOCKED, re.MULTILINE))
    locked = versions.get(canonicalize_name(requirement.name))
    assert locked is not None and requirement.specifier.contains(locked), "make .ci/requirements.txt anew: see .ci/run"


def test_everything_that_is_locked_has_hashes_and_no_index_is_named() -> None:
    entries = re.split(r"\n(?=\S)", LOCKED)
    assert len(entries) > 50 and all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in LOCKED and "--index" not in LOCKED and "--find-links" not in LOCKED
