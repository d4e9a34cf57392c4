"""Metrics for Prometheus; needs the extra `prometheus`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from asyncjobs.metrics.counting import Histogram, Metrics
from asyncjobs.metrics.families import BY_NAME, FAMILIES, Family

CONTENT_TYPE = CONTENT_TYPE_LATEST
PROCESS = "process"
"""The label that tells the processes of one supervisor from each other."""


class JobsCollector(Collector):
    """A collector to register: ``REGISTRY.register(jobs.metrics)``."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        """What it shows."""

    def describe(self) -> Iterable[Metric]:
        """Return the families without values, so that a second registration is refused."""
        return map(_empty, FAMILIES)

    def collect(self) -> Iterable[Metric]:
        """Return the families that have values here."""
        for family, samples in self.metrics.samples().items():
            if samples:
                found = _empty(family)
                for labels, value in samples:
                    found.add_sample(family.name, dict(zip(family.labels, labels, strict=True)), value)
                yield found
        for family, histograms in self.metrics.histograms():
            found = _empty(family)
            for labels, histogram in histograms:
                _add(found, dict(zip(family.labels, labels, strict=True)), histogram)
            yield found


def _empty(family: Family) -> Metric:
    return Metric(family.name.removesuffix("_total"), family.help, family.type)


def _add(found: Metric, labels: dict[str, str], histogram: Histogram) -> None:
    reached = list(itertools.accumulate(histogram.counts))
    for bound, count in zip((*histogram.bounds, float("inf")), reached, strict=True):
        le = "+Inf" if bound == float("inf") else str(bound)
        found.add_sample(f"{found.name}_bucket", {**labels, "le": le}, count)
    found.add_sample(f"{found.name}_count", labels, reached[-1])
    found.add_sample(f"{found.name}_sum", labels, histogram.total)


def exposition(collector: JobsCollector) -> bytes:
    """Return these metrics in Prometheus's text format, and those of the default registry: the process's, and your own.

    What an AsyncJobs of the same names has registered there is left out: it may be one that is never opened here.
    """
    ours = list(collector.collect())
    names = {_empty(family).name for family in FAMILIES}
    return generate_latest(_Merged([*ours, *(found for found in REGISTRY.collect() if found.name not in names)]))


class _Merged(Collector):
    def __init__(self, found: Iterable[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        return self._found


def merged(texts: Mapping[str, str]) -> bytes:
    """Return the expositions of several processes as one.

    Every sample gets the label `process`, by which counters of several processes stay apart. What is told of the cluster is
    taken from the first process that tells it.

    Args:
        texts: The text of each process, by the value of its label.
    """
    families: dict[str, Metric] = {}
    for process, text in texts.items():
        for found in text_string_to_metric_families(text):
            ours = BY_NAME.get(found.name)
            if ours is not None and ours.of_cluster:
                families.setdefault(found.name, found)
                continue
            family = families.setdefault(found.name, Metric(found.name, found.documentation, found.type))
            for sample in found.samples:
                family.samples.append(sample._replace(labels={PROCESS: process, **sample.labels}))
    return generate_latest(_Merged(families.values()))
