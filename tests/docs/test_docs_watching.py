"""The table of metrics, the dashboard and the alerts name what there is."""

import json
import re

import pytest
import yaml

from asyncjobs.metrics.families import FAMILIES, OUTCOMES
from tests.support.workers import ROOT

PAGE = (ROOT / "docs" / "production" / "watching.md").read_text()
FILES = ROOT / "docs" / "production" / "watching"
DASHBOARD = json.loads((FILES / "grafana.json").read_text())
ALERTS = yaml.safe_load((FILES / "alerts.yaml").read_text())
LABELS = {family.name: {*family.labels, "instance", "job", "process"} for family in FAMILIES}
for _family in FAMILIES:
    if _family.type == "histogram":
        _labels = LABELS.pop(_family.name)
        LABELS |= {
            f"{_family.name}_bucket": _labels | {"le"},
            f"{_family.name}_count": _labels,
            f"{_family.name}_sum": _labels,
        }


def test_the_table_says_what_the_code_does() -> None:
    rows = re.findall(r"^\| `(asyncjobs_\w+)` \| (.*?) \| (.*?) \| (.*?) \| (.*) \|$", PAGE, re.MULTILINE)
    assert rows == [
        (
            family.name,
            family.type,
            family.unit or "0 or 1",
            ", ".join(f"`{label}`" for label in family.labels) or "–",
            family.help,
        )
        for family in FAMILIES
    ]
    assert all(f"{outcome}" in PAGE for outcome in OUTCOMES)


def expressions() -> list[str]:
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return panels + [rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("expression", expressions())
def test_what_is_asked_for_exists_with_its_labels(expression: str) -> None:
    named = re.findall(r"(asyncjobs_\w+)(?:\{(.*?)\})?", expression)
    assert named
    for name, matchers in named:
        assert set(re.findall(r'(\w+)=~?"', matchers)) <= LABELS[name]
        assert set(re.findall(r'outcome=~?"([\w|]+)"', matchers.replace("|", '" outcome="'))) <= set(OUTCOMES)
    of_all = set.union(*(LABELS[name] for name, _ in named))
    for labels in re.findall(r"\b(?:by|without) \((.*?)\)", expression):
        assert {label.strip() for label in labels.split(",")} <= of_all


def test_every_family_is_on_the_dashboard() -> None:
    shown = " ".join(expressions())
    assert [family.name for family in FAMILIES if family.name not in shown] == []


def test_the_dashboard_has_a_panel_in_each_place_once() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in DASHBOARD["panels"]})


def test_the_page_shows_the_alerts_as_they_are_and_says_what_to_do_at_each() -> None:
    assert f"```yaml\n{(FILES / 'alerts.yaml').read_text()}```" in PAGE
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            assert f"`{rule['alert']}`" in PAGE
            assert {"severity"} == set(rule["labels"]) and rule["annotations"]["summary"]
