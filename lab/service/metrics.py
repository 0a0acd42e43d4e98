"""`GET /metrics`: the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Labels = dict[str, str]
Sample = tuple[Labels, float | int]


def exposition(
    truth: Mapping[str, Any],
    projections: Iterable[Mapping[str, Any]],
    answered: Mapping[tuple[str, int], int],
    seconds: Mapping[str, float],
) -> str:
    """Every metric with its help, its type and its samples. What a process didn't tell is left out."""
    rows = list(projections)
    page: list[str] = []

    def add(name: str, kind: str, said: str, samples: Iterable[Sample]) -> None:
        page.append(f"# HELP {name} {said}\n# TYPE {name} {kind}")
        page.extend(f"{name}{_labels(labels)} {value:.17g}" for labels, value in samples)

    def each(key: str) -> list[Sample]:
        return [({"projection": row["name"]}, row[key]) for row in rows if row[key] is not None]

    add("lab_truth_up", "gauge", "Whether the executor is there.", [({}, int(truth["state"] == "running"))])
    add("lab_truth_position", "gauge", "The newest position of the source of truth.", [({}, truth["position"])])
    add("lab_truth_restarts_total", "counter", "How often it was started again.", [({}, truth["restarts"])])
    commands = truth.get("commands") or {}
    outcomes: list[Sample] = [({"outcome": name}, count) for name, count in commands.items() if name != "commits"]
    add("lab_commands_total", "counter", "Commands by outcome, since the executor began.", outcomes)
    commits: list[Sample] = [({}, commands["commits"])] if commands else []
    add("lab_commits_total", "counter", "Transactions; commands that wait together share one.", commits)
    channel = truth.get("channel") or {}
    fates = [({"fate": name}, count) for name, count in channel.items() if name != "waiting"]
    add("lab_channel_messages_total", "counter", "What became of messages.", fates)
    waiting: list[Sample] = [({}, channel["waiting"])] if channel else []
    add("lab_channel_waiting", "gauge", "Messages on their way, or held by an outage.", waiting)
    up = [({"projection": row["name"]}, int(row["state"] == "running")) for row in rows]
    add("lab_projection_up", "gauge", "Whether the projection's process is there.", up)
    add("lab_projection_restarts_total", "counter", "How often it was started again.", each("restarts"))
    add("lab_projection_position", "gauge", "Everything up to here is in.", each("position"))
    add("lab_projection_highest", "gauge", "The highest position that it was handed: no promise.", each("highest"))
    add("lab_projection_behind", "gauge", "Positions between it and the source of truth.", each("behind"))
    add("lab_projection_age_seconds", "gauge", "What was committed so long ago is in.", each("age_seconds"))
    counts = [
        ({"projection": row["name"], "what": name}, count)
        for row in rows
        for name, count in (row["counts"] or {}).items()
    ]
    add("lab_projection_count", "gauge", "What it has done since it began, and what it holds.", counts)
    page.append("# HELP lab_lag_seconds From commit to visible.\n# TYPE lab_lag_seconds histogram")
    for row in rows:
        page.extend(_histogram(row) if row["lag"] else ())
    requests = [({"route": path, "status": str(status)}, count) for (path, status), count in sorted(answered.items())]
    add("lab_http_requests_total", "counter", "Requests by route and status.", requests)
    took = [({"route": path}, total) for path, total in sorted(seconds.items())]
    add("lab_http_seconds_total", "counter", "Seconds spent on them.", took)
    return "\n".join(page) + "\n"


def _histogram(row: Mapping[str, Any]) -> Iterable[str]:
    lag, name = row["lag"], row["name"]
    total = 0
    for bound, count in zip([*map(str, lag["bounds"]), "+Inf"], lag["counts"], strict=True):
        total += count
        yield f"lab_lag_seconds_bucket{_labels({'projection': name, 'le': bound})} {total}"
    yield f"lab_lag_seconds_sum{_labels({'projection': name})} {lag['sum']:.17g}"
    yield f"lab_lag_seconds_count{_labels({'projection': name})} {total}"


def _labels(labels: Labels) -> str:
    # Names of projections, routes and outcomes: none has a character that would have to be escaped.
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}" if labels else ""
