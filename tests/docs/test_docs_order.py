"""What the pages on order have: for each feature a snippet, what holds after a crash, and what it costs."""

from __future__ import annotations

import re

import pytest

from asyncjobs import settings
from tests.support.pages import page

PARTS = {
    part.partition("\n")[0]: part
    for name in ("order", "batches", "schedules")
    for part in re.split(r"^## |\A# ", page(f"docs/guides/{name}.md").text, flags=re.MULTILINE)
}
FEATURES = (
    "Queues, pools and priorities",
    "Unique jobs",
    "Limits",
    "Rates",
    "Pauses",
    "Batches",
    "Chains and `then`",
    "Schedules",
)


@pytest.mark.parametrize("feature", FEATURES)
def test_each_feature_has_a_snippet_a_promise_and_a_cost(feature: str) -> None:
    part = PARTS[feature]
    assert "\n```python\n" in part
    assert part.count("\n- **After a crash**") == 1
    assert part.count("\n**Costs:** ") == 1


@pytest.mark.parametrize("environment", ["development", "production"])
def test_the_queues_of_the_source_document_are_configured(
    environment: str, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ASYNCJOBS_DATABASE_URL", raising=False)
    path = tmp_path / "config.toml"
    path.write_text(page("docs/guides/order.md").config, encoding="utf-8")
    found = settings.load(path, environment=environment)
    assert (found.dispatcher.polling_interval, found.dispatcher.batch_size) == (1, 500)
    assert [(pool.queues[0], pool.concurrency, pool.processes) for pool in found.pools] == [
        ("critical", 3, 1),
        ("default", 5, 2),
    ]
