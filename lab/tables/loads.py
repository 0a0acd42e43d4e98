"""The tables of a load on a service: requests, the knee, and the lag that was foretold."""

from __future__ import annotations

from lab.tables.schema import BOOL, FLOAT, INT, NINETY_NINE, PROJECTION, TEXT, WALL, Schema, columns

SCHEMAS = (
    Schema(
        "load",
        "Of `lab load` only: a row for each kind of request. `offered = answered + failed + censored`, or the run is "
        "void. Every single event is in `events.parquet`, with the worker that saw it; changes are in `lag`.",
        columns(
            row=(
                TEXT,
                "`COMMAND`, `QUERY/<projection>/<query>`, `LAG/<projection>`, `RYW/<projection>`, "
                "`RYW-CHECKPOINT/<projection>`, `SCHEDULE`, `NOT-SENT`",
            ),
            offered=(INT, "requests, counted when they were due; of `LAG`, changes"),
            answered=(INT, "of these: answered"),
            failed=(INT, "of these: no answer, or an invalid one"),
            censored=(INT, "of these: still waiting when it was given up; of `LAG`, never visible"),
            p50_seconds=(
                FLOAT,
                "from the intended start, for half of what was offered. Null: it falls on one that failed or is "
                "censored, which count as infinitely late",
            ),
            p90_seconds=(FLOAT, "the same for 90 of 100; null with fewer than 10"),
            p99_seconds=(FLOAT, "the same for 99 of 100; null with fewer than 100"),
            service_p50_seconds=(FLOAT, "from the actual start of the request; null if there is no request"),
            service_p90_seconds=(FLOAT, "the same for 90 of 100; null with fewer than 10"),
            service_p99_seconds=(FLOAT, "the same for 99 of 100; null with fewer than 100"),
        ),
        clock=WALL,
    ),
    Schema(
        "knee",
        "Of `lab load --find-knee` only: a row for each rate that was tried and each projection.",
        columns(
            repetition=(INT, "the search: 1 or 2"),
            rate=(FLOAT, "arrivals offered per second"),
            projection=PROJECTION,
            lag_p99_seconds=(FLOAT, "from commit to applied, for 99 of 100 changes"),
            query_p99_seconds=(FLOAT, "of all its queries, from the intended start, for 99 of 100"),
            error_rate=(FLOAT, "share of commands and queries that failed"),
            held=(BOOL, "whether every level was held at this rate, at every projection; null if that is not known"),
            why=(TEXT, "if not: the levels that were broken, or what is not known"),
        ),
        clock=WALL,
    ),
    Schema(
        "foretold",
        "Of `lab load` only, for domains with commands: the same changes, messages and requests, at the times at which "
        "they came, simulated. What a piece of work takes is drawn from the times that such work took in the "
        "projection's own process under load.",
        columns(
            projection=PROJECTION,
            simulated_p50_seconds=(FLOAT, "the lag that the simulation foretold"),
            loaded_p50_seconds=(FLOAT, "the lag under load, as in `lag_summary`"),
            p50_error=(FLOAT, "`loaded_p50_seconds` by `simulated_p50_seconds`, less 1"),
            simulated_p99_seconds=NINETY_NINE,
            loaded_p99_seconds=NINETY_NINE,
            p99_error=(FLOAT, "`loaded_p99_seconds` by `simulated_p99_seconds`, less 1"),
            busy_share=(FLOAT, "share of the time in which its process was at work: changes, messages and requests"),
            holds=(BOOL, "whether the errors are at most 15 % of p50 and 25 % of p99"),
        ),
    ),
)
