"""Metrics for OpenTelemetry, by its API alone: instruments of the same names, where the program has a meter provider."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from asyncjobs.metrics.counting import Histogram, Labels, Metrics
from asyncjobs.metrics.families import FAMILIES, Family
from asyncjobs.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation

_shown: WeakSet[Metrics] = WeakSet()
_histograms: dict[str, Any] = {}
_providers: WeakSet[Any] = WeakSet()
"""Those whose instruments were made."""


def is_configured() -> bool:
    """Whether the program has set up a meter provider; costs nothing where OpenTelemetry was not imported."""
    found = sys.modules.get("opentelemetry.metrics")
    # Until one is set, the API gives a stand-in of its own.
    return found is not None and not type(found.get_meter_provider()).__module__.startswith("opentelemetry.metrics")


def show(metrics: Metrics) -> None:
    """Show metrics by the instruments of the meter provider, as long as they exist."""
    _make_instruments()
    _shown.add(metrics)
    metrics.on_histogram(_record)


def _make_instruments() -> None:
    """Make the instruments, once for each provider: two of one name would be shown twice."""
    from opentelemetry import metrics as api

    provider = api.get_meter_provider()
    if provider in _providers:
        return
    _providers.add(provider)
    meter = provider.get_meter("asyncjobs", VERSION)
    for family in FAMILIES:
        unit = {"seconds": "s", "": "1"}.get(family.unit, f"{{{family.unit}}}")
        if family.type == "histogram":
            _histograms[family.name] = meter.create_histogram(
                family.name,
                unit=unit,
                description=family.help,
                explicit_bucket_boundaries_advisory=family.bounds,
            )
        else:
            make = meter.create_observable_counter if family.type == "counter" else meter.create_observable_gauge
            make(family.name, callbacks=[_observing(family)], unit=unit, description=family.help)


def _observing(family: Family) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_options: CallbackOptions) -> Iterable[Observation]:
        from opentelemetry.metrics import Observation

        for metrics in list(_shown):
            for labels, value in metrics.samples().get(family, ()):
                yield Observation(value, dict(zip(family.labels, labels, strict=True)))

    return observe


def _record(family: Family, labels: Labels, histogram: Histogram) -> None:
    attributes = dict(zip(family.labels, labels, strict=True))
    histogram.also = partial(_histograms[family.name].record, attributes=attributes)
