"""`GET /metrics`: what the parts report, as metrics of Prometheus."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

# Label values and the sample.
Sample = tuple[tuple[str, ...], float]


class _Sampled(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self.metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        return self.metrics


def exposition(
    truth: Mapping[str, Any],
    projections: Iterable[Mapping[str, Any]],
    answered: Mapping[tuple[str, int], int],
    seconds: Mapping[str, float],
) -> bytes:
    """The text format of every metric. What a process didn't report is left out."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Sampled([*_of_truth(truth), *_of_projections(list(projections)), *_of_http(answered, seconds)]))
    return generate_latest(registry)


def _gauge(name: str, said: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> Metric:
    return _filled(GaugeMetricFamily(name, said, labels=labels), samples)


def _counter(name: str, said: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> Metric:
    return _filled(CounterMetricFamily(name, said, labels=labels), samples)


def _filled(family: Any, samples: Iterable[Sample]) -> Metric:
    for values, number in samples:
        family.add_metric(values, number)
    found: Metric = family
    return found


def _of_truth(truth: Mapping[str, Any]) -> Iterator[Metric]:
    commands, channel = truth.get("commands") or {}, truth.get("channel") or {}
    yield _gauge("lab_truth_up", "Whether the executor is there.", (), [((), truth["state"] == "running")])
    yield _gauge("lab_truth_position", "The newest position of the source of truth.", (), [((), truth["position"])])
    yield _counter("lab_truth_restarts", "How often it was started again.", (), [((), truth["restarts"])])
    outcomes = [((name,), count) for name, count in commands.items() if name != "commits"]
    yield _counter("lab_commands", "Commands by outcome, since the executor began.", ("outcome",), outcomes)
    commits = [((), commands["commits"])] if commands else []
    yield _counter("lab_commits", "Transactions; commands that wait together share one.", (), commits)
    fates = [((name,), count) for name, count in channel.items() if name != "waiting"]
    yield _counter("lab_channel_messages", "What became of messages.", ("fate",), fates)
    waiting = [((), channel["waiting"])] if channel else []
    yield _gauge("lab_channel_waiting", "Messages on their way, or held by an outage.", (), waiting)


def _of_projections(rows: list[Mapping[str, Any]]) -> Iterator[Metric]:
    label = ("projection",)

    def each(key: str) -> list[Sample]:
        return [((row["name"],), row[key]) for row in rows if row[key] is not None]

    up: list[Sample] = [((row["name"],), row["state"] == "running") for row in rows]
    yield _gauge("lab_projection_up", "Whether the projection's process is there.", label, up)
    yield _counter("lab_projection_restarts", "How often it was started again.", label, each("restarts"))
    yield _gauge("lab_projection_position", "Everything up to here is in.", label, each("position"))
    yield _gauge("lab_projection_highest", "The highest position that it was handed.", label, each("highest"))
    yield _gauge("lab_projection_behind", "Positions between it and the source of truth.", label, each("behind"))
    age = "What was committed so long ago is in."
    # Of a store in an emulator no times are told.
    timed = [((row["name"],), row["age_seconds"]) for row in rows if row["level"] != "emulated"]
    yield _gauge("lab_projection_age_seconds", age, label, [one for one in timed if one[1] is not None])
    counts = [((row["name"], what), count) for row in rows for what, count in (row["counts"] or {}).items()]
    said = "What it has done since it began, and what it holds."
    yield _gauge("lab_projection_count", said, ("projection", "what"), counts)
    lags = HistogramMetricFamily("lab_lag_seconds", "From commit to visible.", labels=label)
    for name, lag in ((row["name"], row["lag"]) for row in rows if row["lag"]):
        bounds = [*map(str, lag["bounds"]), "+Inf"]
        lags.add_metric([name], list(zip(bounds, itertools.accumulate(lag["counts"]), strict=True)), lag["sum"])
    yield lags


def _of_http(answered: Mapping[tuple[str, int], int], seconds: Mapping[str, float]) -> Iterator[Metric]:
    requests = [((path, str(status)), count) for (path, status), count in sorted(answered.items())]
    yield _counter("lab_http_requests", "Requests by route and status.", ("route", "status"), requests)
    took = [((path,), total) for path, total in sorted(seconds.items())]
    yield _counter("lab_http_seconds", "Seconds spent on them.", ("route",), took)
