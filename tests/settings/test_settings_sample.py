import re
import tomllib
from pathlib import Path

import pytest

from asyncjobs.settings import Dispatcher, Pool, Recurring, Settings, load
from asyncjobs.settings.keys import KEYS
from asyncjobs.settings.models import QueueLimits

SAMPLE = Path(__file__).parents[2] / "config.toml"


@pytest.mark.parametrize("environment", ["development", "production"])
def test_the_sample_says_what_the_defaults_are(environment):
    settings = load(SAMPLE, environment=environment)
    pools = (
        Pool(queues=("critical",), concurrency=3, processes=1),
        Pool(queues=("default", "low"), concurrency=5, processes=2, order="strict"),
    )
    assert settings == Settings(environment=environment, source=SAMPLE, pools=pools)


def test_the_sample_has_every_key_with_a_comment():
    lines = SAMPLE.read_text().splitlines()
    options = (*Dispatcher.model_fields, *Pool.model_fields, *Recurring.model_fields, *QueueLimits.model_fields)
    for key in [*KEYS, *options]:
        if key not in ("dispatcher", "pools", "weights"):
            line = next(line for line in lines if re.match(rf"(# )?{key} = ", line))
            assert "  # " in line or key in ("concurrency", "processes", "queues"), line


def test_the_sample_has_the_documented_tables():
    assert list(tomllib.loads(SAMPLE.read_text())) == ["default", "development", "production"]


def test_the_defaults_that_comments_name_are_the_defaults():
    text = SAMPLE.read_text()
    for model in (Settings, Dispatcher):
        for name, field in model.model_fields.items():
            named = re.search(rf"^{name} = .*; default (\d+)( days)?$", text, re.MULTILINE)
            if named:
                assert field.default == int(named[1]) * (86400 if named[2] else 1), name
