"""A synthetic but complete run folder, to test what reads runs without having to run anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lab.measure.queries import ENDS
from lab.runs import Run, write_table
from lab.statistics.intervals import intervals
from lab.statistics.quantiles import unbiased
from lab.tables import TABLES

NASTY = "<script>alert('x')</script> & \"quotes\""
# Each projection: name, store, guard, subscription, what it keeps, expected, found, mean lag in seconds.
PROJECTIONS = [
    ("directory", "sqlite.table", "revision", "both", "records", "pass", "pass", 0.03),
    ("directory_polled", "sqlite.table", "revision", "catch-up", "records", "pass", "pass", 0.5),
    ("salary_totals", "duckdb.columnar", "ordered", "channel", "totals", "pass", "pass", 0.2),
    ("naive", "duckdb.columnar", "none", "channel", "records", "fail", "fail", 0.02),
    ("nothing", "null", "none", "both", "records", "pass", "unknown", 0.01),
]
CHECKS = ("converged", "no_loss", "no_double_effect", "no_resurrection", "accounting", "answers_right")
FAILED = {"converged": "record 17", "no_loss": f"position 12: {NASTY}\n  sent once\n  lost by the channel"}
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
QUERIES = [("by_id", "get", 12.0), ("by_department", "filter", 180.0), ("payroll", "aggregate", 900.0)]


def fake_run(
    root: Path, changes: int = 20_000, seed: int = 1, lags: dict[str, float] | None = None, **manifest: Any
) -> Run:
    """A run of five projections in `root`/fake/<seed>; `lags` replaces mean lags, `manifest` its entries."""
    folder = root / "fake" / f"run-{seed}"
    folder.mkdir(parents=True)
    tables = _timeline(changes, seed, lags or {}) | _measured(changes) | _judged(changes)
    for name, frame in tables.items():
        write_table(folder, name, frame)
    (folder / "manifest.json").write_text(json.dumps(_manifest(changes, seed) | manifest))
    return Run(folder)


def with_troubles(run: Run, crashes: int = 7, **tables: pl.DataFrame) -> Run:
    """The run with faults, gaps, readers, rebuilds, parked changes and witnesses; `tables` replaces some of them."""
    found = {"faults": faults(crashes), "witnesses": witness(*RESURRECTION)}
    found |= {name: TABLES[name].frame(rows) for name, rows in TROUBLES.items()}
    for name, frame in (found | tables).items():
        write_table(run.path, name, frame)
    judged = run.table("verdicts")
    reduced = pl.when(pl.col("check") == "no_loss", pl.col("verdict") == "fail").then(2)
    write_table(run.path, "verdicts", judged.with_columns(deliveries=reduced.cast(pl.Int64)))
    return Run(run.path)


def faults(crashes: int, seed: int = 3) -> pl.DataFrame:
    """So many random crashes of `directory`, and a few of everything else."""
    random = np.random.default_rng(seed)
    steps = ("before apply", "between data and checkpoint", "after checkpoint")
    rows = [
        ("directory", "crash", steps[place % 3], float(at), float(at) + 0.2, None, "the process was away for 200 ms")
        for place, at in enumerate(np.sort(random.uniform(0, 20, crashes)))
    ]
    rows += [
        ("directory_polled", "slow", "", 4.0, 7.0, None, "the store took 8 times as long"),
        ("directory_polled", "rebuild", "", 14.0, 16.5, None, "in place"),
        ("naive", "poison", "", 6.0, 6.0, 77, NASTY),
        ("naive", "refused_apply", "", 11.5, 11.5, None, "the store refused the batch for now"),
    ]
    rows += [("", "late_commit", "", at, at + 0.4, 9, "slept before the commit") for at in (2.0, 2.1, 12.0)]
    return pl.DataFrame(rows, schema=TABLES["faults"].types, orient="row")


# Steps of a witness: at, line, label, detail, position, delivery, mark.
RESURRECTION = [
    (1.2, "source", "r3", "Record 17 was changed.", 3, None, ""),
    (1.200012, "source", "r4 †", f"Record 17 was deleted {NASTY}.", 4, None, ""),
    (1.25, "channel", "r4 †", "The tombstone arrived first.", 4, 1, ""),
    (1.25, "projector", "r4 †", "It was applied.", 4, 1, ""),
    (1.9, "projector", "crash", "The process died after the checkpoint.", None, None, "fault"),
    (3.5, "channel", "r3", "The older revision arrived late.", 3, 2, ""),
    (3.6, "projector", "r3", "It was written over the tombstone.", 3, 2, "wrong"),
    (3.7, "reader", "r3", "Somebody read it.", 3, None, "read"),
    (3.9, "channel", "r5", "Its message was lost.", 3, 3, "lost"),
    (4.0, "projector", "r4 †", "Catch-up brought the tombstone.", 4, 4, ""),
]


def witness(*steps: tuple[Any, ...], projection: str = "naive", check: str = "no_loss") -> pl.DataFrame:
    """A witness's rows, in order."""
    names = ("at_seconds", "line", "label", "detail", "position", "delivery", "mark")
    rows = [
        {"projection": projection, "check": check, "step": place} | dict(zip(names, step, strict=True))
        for place, step in enumerate(steps)
    ]
    return TABLES["witnesses"].frame(rows)


def _gap(projection: str, strategy: str, lost: int, given_up: int, stall: float, throughput: float) -> dict[str, Any]:
    stalls = {"stall_p50_seconds": stall / 3, "stall_p99_seconds": stall, "stall_max_seconds": stall * 1.5}
    counts = {"changes": 20_000, "lost": lost, "given_up": given_up}
    row = {"projection": projection, "strategy": strategy, "writers": "simulated"}
    return row | counts | stalls | {"per_second": 2000.0 * throughput, "throughput": throughput}


def _reads(projection: str, token: str, stale: int, unread: int, backward: int) -> dict[str, Any]:
    row = {"projection": projection, "token": token, "reads": 20_000, "answered": 5000 - stale, "stale": stale}
    waited = token != "none"
    wait = {"wait_p50_seconds": 0.02 if waited else None, "wait_p99_seconds": 0.9 if waited else None}
    return row | {"unread": unread, "backward": backward} | wait


def _rebuilt(projection: str, mode: str, seconds: float, bad: int, behind: float, peak: int) -> dict[str, Any]:
    row = {"projection": projection, "mode": mode, "at_seconds": 14.0, "seconds": seconds, "changes": 14_000}
    seen = {"reads": 400, "partial_reads": bad * 3, "backward_reads": bad, "behind_max_seconds": behind}
    return row | seen | {"peak_bytes": peak, "resting_bytes": 2_600_000}


TROUBLES: dict[str, list[dict[str, Any]]] = {
    "gaps": [
        _gap("naive", "naive", 412, 0, 0.0, 1.0),
        _gap("directory", "serialise", 0, 0, 0.0003, 0.31),
        _gap("directory_polled", "horizon", 0, 0, 0.42, 1.0),
        _gap("salary_totals", "hold", 31, 31, 0.25, 1.0),
    ],
    "readers": [
        _reads("directory", "checkpoint", 12, 0, 0),
        _reads("directory", "highest", 0, 9, 0),
        _reads("naive", "none", 0, 2103, 311),
    ],
    "rebuilds": [
        _rebuilt("directory_polled", "in-place", 2.5, 70, 14.2, 2_700_000),
        _rebuilt("directory", "blue-green", 3.1, 0, 0.3, 5_200_000),
    ],
    "parked": [
        {"projection": "naive", "entity": "employee", "key": str(key), "position": 70 + key, "revision": 2}
        | {"reason": f"the store can't take revision 2 {NASTY}"}
        for key in range(40)
    ],
}


def _lags(name: str, mean_seconds: float, changes: int, seed: int) -> pl.Series:
    random = np.random.default_rng([seed, len(name)])
    lag = pl.Series(random.lognormal(np.log(mean_seconds), 0.8, changes))
    lag[np.arange(0, changes, 97)] = 0.0
    if name == "naive":
        lag = lag.scatter(np.arange(0, changes, 50), [None] * len(range(0, changes, 50)))
    return lag


def _quantile(seconds: pl.Series, share: float) -> float | None:
    value = seconds.fill_null(np.inf).sort()[max(0, int(np.ceil(share * len(seconds))) - 1)]
    return value if np.isfinite(value) else None


def _intervals(seconds: pl.Series) -> dict[str, float | str | None]:
    found: dict[str, float | str | None] = {}
    for name, each in zip(("p50", "p99"), intervals(seconds.fill_null(np.inf), (0.5, 0.99)), strict=True):
        found |= {f"{name}_low_seconds": each.low, f"{name}_high_seconds": each.high}
        found[f"{name}_interval_reason"] = each.reason or None
    return found


def _timeline(changes: int, seed: int, means: dict[str, float]) -> dict[str, pl.DataFrame]:
    lag, summary, visibility, staleness = [], [], [], []
    after = np.logspace(-3, 1.5, 60)
    at = np.arange(0.0, 20.0, 0.05)
    for name, *_, mean in PROJECTIONS:
        seconds = _lags(name, means.get(name, mean), changes, seed)
        lag.append(
            pl.DataFrame({"position": np.arange(1, changes + 1), "lag_seconds": seconds}).with_columns(
                projection=pl.lit(name)
            )
        )
        seen = seconds.drop_nulls()
        summary.append(
            dict.fromkeys(TABLES["lag_summary"].types)
            | {
                "projection": name,
                "changes": changes,
                "visible": len(seen),
                "never_visible": changes - len(seen),
            }
            | {f"{name}_seconds": _quantile(seconds, share) for name, share in QUANTILES.items()}
            | _intervals(seconds)
            | {
                f"{name}_unbiased_seconds": unbiased(seconds.fill_null(np.inf), QUANTILES[name])
                for name in ("p90", "p99")
            }
        )
        shown = np.searchsorted(np.sort(seen.to_numpy()), after) / changes
        visibility.append(
            pl.DataFrame({"after_seconds": after, "probability": shown}).with_columns(projection=pl.lit(name))
        )
        behind = np.abs(np.sin(at * (2 + len(name) % 3))) * mean + np.where((at > 10) & (at < 13), (at - 10) * 0.8, 0.0)
        staleness.append(
            pl.DataFrame(
                {"at_seconds": at, "versions_behind": (behind * 1000).astype(int), "seconds_behind": behind}
            ).with_columns(projection=pl.lit(name))
        )
    return {
        "lag": pl.concat(lag),
        "lag_summary": TABLES["lag_summary"].frame(summary),
        "visibility": pl.concat(visibility),
        "staleness": pl.concat(staleness),
    }


def _measured(changes: int) -> dict[str, pl.DataFrame]:
    rebuild, queries = [], []
    unknown = dict.fromkeys(ENDS)
    for at, (name, store, *_rest) in enumerate(PROJECTIONS):
        seconds = 0.4 + 0.35 * at
        rebuild.append(
            {"projection": name, "store": store, "changes": changes, "seconds": seconds}
            | {
                "changes_per_second": changes / seconds,
                "size_bytes": 1_300_000 * (at + 1),
                "peak_rss_bytes": 10**8,
            }
        )
        for query, kind, base in QUERIES:
            wrong = name == "naive" and kind == "filter"
            time = base * (1 + at) / (8 if store.startswith("duckdb") and kind == "aggregate" else 1)
            times = {f"p{q}_us": None if wrong else time * (1 + q / 60) for q in (50, 90, 99)}
            row = {
                "projection": name,
                "store": store,
                "query": query,
                "kind": kind,
                "samples": 200,
                "rows": 3.5,
            }
            # Asked one by one among all others, each takes twice as long.
            cold = {f"cold_{name}": value and 2 * value for name, value in times.items()}
            cold |= {f"cold_{name}": None for name in unknown} | {"cold_samples": 100, "temperature": "hot"}
            cold |= {"p99_unbiased_us": times["p99_us"], "cold_p99_unbiased_us": cold["cold_p99_us"]}
            queries.append(row | times | {"answer_ok": not wrong, "weight": 1.0} | unknown | cold)
    writes = {
        "write_model": "snapshot",
        "commands": changes + 900,
        "accepted": changes,
        "rejected": 850,
        "conflicts": 50,
    }
    channel = [("delivered", 0.93, 0.02, 0.2), ("duplicate", 0.05, 0.05, 0.4), ("lost", 0.02, None, None)]
    return {
        "rebuild": pl.DataFrame(rebuild),
        "queries": TABLES["queries"].frame(queries),
        "writes": pl.DataFrame(
            [writes | {"per_second": 41_234.5, "p50_us": 22.0, "p99_us": 140.0, "p99_unbiased_us": 141.0}]
        ),
        "channel": pl.DataFrame(
            [
                {
                    "fate": fate,
                    "messages": int(part * changes),
                    "share": part,
                    "delay_p50_seconds": p50,
                    "delay_p99_seconds": p99,
                }
                for fate, part, p50, p99 in channel
            ],
        ),
    }


def _judged(changes: int) -> dict[str, pl.DataFrame]:
    accounting, verdicts = [], []
    for name, *_, found, _mean in PROJECTIONS:
        lost = changes // 50 if name == "naive" else 0
        superseded = changes // 5
        row = {
            "projection": name,
            "committed": changes,
            "applied": changes - superseded - lost,
            "superseded": superseded,
        }
        accounting.append(row | {"duplicates": changes // 20, "parked": 0, "skipped": lost, "pending": 0})
        for check in CHECKS:
            bad = found == "fail" and check in FAILED
            verdict = "fail" if bad else "unknown" if found == "unknown" else "pass"
            witness = FAILED[check] if bad else ""
            verdicts.append(
                {
                    "projection": name,
                    "check": check,
                    "verdict": verdict,
                    "count": lost if bad else 0,
                    "witness": witness,
                    "deliveries": None,
                }
            )
    return {"accounting": pl.DataFrame(accounting), "verdicts": TABLES["verdicts"].frame(verdicts)}


def _manifest(changes: int, seed: int) -> dict[str, Any]:
    projections = [
        {"name": name, "store": store, "guard": guard, "subscribe": subscribe, "keeps": keeps, "batch": 1000}
        | {
            "linger_seconds": 0.25,
            "expect": expect,
            "verdict": found,
            "as_expected": expect == found,
            "digest": None,
        }
        for name, store, guard, subscribe, keeps, expect, found, _mean in PROJECTIONS
    ]
    text = f'schema = 1\nname = "fake"  # {NASTY}\nseed = {seed}\n'
    return {
        "format": 1,
        "run": f"run-{seed}",
        "scenario": {
            "name": "fake",
            "file": "scenarios/fake.toml",
            "text": text,
            "sha256": "ab" * 32,
            "overrides": ["channel.lose=0.02"],
        },
        "seed": seed,
        "replay": f"lab run scenarios/fake.toml --set channel.lose=0.02 --seed {seed}",
        "started_at": "2025-06-01T12:00:00+00:00",
        "wall_seconds": 12.25,
        "phases": {"write": 1.0, "project": 5.5, "rebuild": 3.0, "query": 2.0, "judge": 0.75},
        "clocks": {
            "lag": "simulated, service measured",
            "rebuild": "wall",
            "queries": "wall",
            "writes": "wall",
        },
        "verdict": "unknown",
        "projections": projections,
        "machine": {
            "cpu": "Example CPU",
            "cores": 2,
            "memory_bytes": 8 * 2**30,
            "os": "Linux 6.1",
            "python": "3.11.9",
        },
        "versions": {"polyglot-lab": "0.1.0", "sqlite": "3.45.0", "duckdb": "2.0.0"},
        "engines": {
            "truth": {"journal_mode": "wal", "synchronous": 1},
            "directory": {"journal_mode": "wal", "cache_size": -2000},
            "naive": {"threads": 2, "memory_limit": "1.0 GiB"},
        },
        "durability": "normal",
        "truth": {"model": "snapshot", "engine": "sqlite"},
        "changes": changes,
        "duration_seconds": 20.0,
        "notes": ["Service times are measured on this machine and fed into the simulated clock."],
        "channel": {
            "delay": {"kind": "lognormal", "mean": 0.02, "sigma": 1.0},
            "duplicate": 0.05,
            "lose": 0.02,
            "ordered_by_key": False,
        },
        "outages": [{"at": 10.0, "lasts": 3.0}],
        "peak_rss_bytes": 300_000_000,
    }
