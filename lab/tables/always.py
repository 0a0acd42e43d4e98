"""The tables that every run has."""

from __future__ import annotations

from lab.tables.schema import (
    BOOL,
    FLOAT,
    INT,
    NINETY,
    NINETY_NINE,
    PROJECTION,
    TEXT,
    UNBIASED,
    UNBIASED_NINETY,
    WALL,
    Schema,
    columns,
)

SCHEMAS = (
    Schema(
        "lag",
        "A row for each projection and change that it subscribes to.",
        columns(
            projection=PROJECTION,
            position=(INT, "the change"),
            lag_seconds=(FLOAT, "from commit until the projection showed that revision or a later one. Null: never"),
        ),
    ),
    Schema(
        "lag_summary",
        "A row for each projection. Changes that never became visible count as infinitely late; a quantile that falls "
        "on one is null.",
        columns(
            projection=PROJECTION,
            changes=(INT, "changes that it subscribes to"),
            visible=(INT, "of these: became visible"),
            never_visible=(INT, "of these: never became visible (censored)"),
            p50_seconds=(FLOAT, "the lag that half of all changes don't exceed"),
            p90_seconds=NINETY,
            p99_seconds=NINETY_NINE,
            max_seconds=(FLOAT, "the largest lag. Null: a change never became visible, or the lag grows without end"),
            p50_low_seconds=(FLOAT, "lower end of the 95 % interval of `p50_seconds`. Null: unknown"),
            p50_high_seconds=(FLOAT, "upper end of it"),
            p50_interval_reason=(TEXT, "why an end is unknown; null where both are known"),
            p99_low_seconds=(FLOAT, "lower end of the 95 % interval of `p99_seconds`. Null: unknown"),
            p99_high_seconds=(FLOAT, "upper end of it"),
            p99_interval_reason=(TEXT, "why an end is unknown; null where both are known"),
            p90_unbiased_seconds=UNBIASED_NINETY,
            p99_unbiased_seconds=UNBIASED,
            stable=(
                BOOL,
                "false: the lag grows without end at this rate, and no quantile is told. Null: too few changes to "
                "tell, or not looked for (`lab load`)",
            ),
            stable_reason=(TEXT, "why it is not stable, or why that is unknown; null where it is"),
            slope=(FLOAT, "by how many seconds the lag grows in a second, without what faults did. Null: unknown"),
            slope_low=(FLOAT, "lower end of its interval, which holds for any queue that is stable"),
            slope_high=(FLOAT, "upper end of it"),
            warm_up_seconds=(
                FLOAT,
                "how long the lag took to get into its steady state (MSER-5). The quantiles don't leave it out. Null: "
                "no steady state is found",
            ),
        ),
        note="Lags of neighbouring changes depend on each other. The intervals take that into account, and are left "
        "out where the run is too short for it (`lab/statistics/dependence.py`). Whether a lag is stable is judged by "
        "`lab/statistics/steady.py`, without changes committed during an outage, a crash or a slow period, or before "
        "it was over.",
    ),
    Schema(
        "visibility",
        "t-visibility: P(visible within t after commit), at 240 times for each projection.",
        columns(
            projection=PROJECTION,
            after_seconds=(FLOAT, "t"),
            probability=(FLOAT, "the share of all changes that were visible by then"),
        ),
    ),
    Schema(
        "staleness",
        "How far behind each projection is, at 241 moments of the run.",
        columns(
            projection=PROJECTION,
            at_seconds=(FLOAT, "the moment"),
            versions_behind=(INT, "changes that were committed and not visible"),
            seconds_behind=(FLOAT, "the age of the oldest of them"),
        ),
    ),
    Schema(
        "writes",
        "One row.",
        columns(
            write_model=(TEXT, "snapshot, history or events"),
            commands=(INT, "commands executed; the changes of a history that was loaded"),
            accepted=(INT, "of these: accepted"),
            rejected=(INT, "of these: rejected"),
            conflicts=(INT, "of these: the record was not at the expected revision"),
            per_second=(FLOAT, "commands per second spent in the source of truth; of a history, rows loaded in bulk"),
            p50_us=(FLOAT, "time of one command; null of a history"),
            p99_us=NINETY_NINE,
            p99_unbiased_us=UNBIASED,
        ),
        clock=WALL,
    ),
    Schema(
        "rebuild",
        "A row for each projection; none with `measure.rebuild = false`.",
        columns(
            projection=PROJECTION,
            store=(TEXT, "its store"),
            changes=(INT, "changes read from the feed, from position 0"),
            seconds=(FLOAT, "from opening a new store to having closed it, reading included"),
            changes_per_second=(FLOAT, "`changes` by `seconds`"),
            size_bytes=(INT, "size of the new store, closed"),
            peak_rss_bytes=(
                INT,
                "peak resident memory of the whole process meanwhile; on systems other than Linux, since its start",
            ),
        ),
        clock=WALL,
    ),
    Schema(
        "queries",
        "A row for each projection and query that it was asked, and for each query that the source of truth was asked "
        "(unless `measure.truth = false`).",
        columns(
            projection=(TEXT, "its name; `truth` is the source of truth"),
            store=(TEXT, "its store; of the source of truth, engine and model: `sqlite.snapshot`"),
            query=(TEXT, "the query's name"),
            kind=(TEXT, "its query class"),
            samples=(INT, "how often it was timed, at the row's `temperature`"),
            rows=(FLOAT, "mean number of rows of an answer"),
            p50_us=(FLOAT, "time around the store's `query`. Null: an answer was wrong"),
            p90_us=NINETY,
            p99_us=NINETY_NINE,
            answer_ok=(BOOL, "whether every answer was the oracle's; null for the store `null`"),
            weight=(FLOAT, "the query's weight, as declared or as `[weights]` has it"),
            p50_low_us=(FLOAT, "lower end of the 95 % interval of `p50_us`. Null: unknown, or an answer was wrong"),
            p50_high_us=(FLOAT, "upper end of it"),
            p99_low_us=(FLOAT, "lower end of the 95 % interval of `p99_us`"),
            p99_high_us=(FLOAT, "upper end of it; null with fewer than 368 samples, which give a p99 no upper bound"),
            p50_interval_reason=(TEXT, "why an end of the interval of `p50_us` is unknown; null where both are known"),
            p99_interval_reason=(TEXT, "the same for `p99_us`"),
            temperature=(
                TEXT,
                "of the figures before: `hot` (blocks of calls), `cold` (single calls, where no blocks were asked) or "
                "`load` (over HTTP, in a run of `lab load`). Null in runs of older versions: `cold`, or `load`",
            ),
            cold_samples=(INT, "how often it was timed in single calls. Null under load, as the columns that follow"),
            cold_p50_us=(FLOAT, "the same as `p50_us`, of single calls among those of all others"),
            cold_p90_us=NINETY,
            cold_p99_us=NINETY_NINE,
            cold_p50_low_us=(FLOAT, "lower end of the 95 % interval of `cold_p50_us`"),
            cold_p50_high_us=(FLOAT, "upper end of it"),
            cold_p99_low_us=(FLOAT, "lower end of the 95 % interval of `cold_p99_us`"),
            cold_p99_high_us=(FLOAT, "upper end of it"),
            cold_p50_interval_reason=(TEXT, "why an end of the interval of `cold_p50_us` is unknown"),
            cold_p99_interval_reason=(TEXT, "the same for `cold_p99_us`"),
            p99_unbiased_us=UNBIASED,
            cold_p99_unbiased_us=UNBIASED,
        ),
        clock=WALL,
        note="An end is one of the measured times, taken by its rank (`lab/statistics/intervals.py`). Nothing is "
        "assumed about the distribution of the times. Times that depend on their neighbours count as the smaller "
        "number of independent ones that they are worth. In a run of `lab load` the times are "
        "over HTTP, from when a request was meant to start; those that failed or were given up are among the samples, "
        "and infinitely late.",
    ),
    Schema(
        "accounting",
        "A row for each projection. `committed = applied + superseded + parked + skipped + pending`.",
        columns(
            projection=PROJECTION,
            committed=(INT, "changes that it subscribes to, counted by the oracle"),
            applied=(INT, "written"),
            superseded=(INT, "a later revision had been written when it came, or made it unnecessary before it came"),
            duplicates=(INT, "delivered again to the same projection (a rebuild starts a new count); not in the sum"),
            parked=(INT, "held back to the end, or set aside since the store can't take it or one before it"),
            skipped=(INT, "given up and reported: no room to hold it back, or a reader stopped waiting for it"),
            pending=(INT, "never delivered, or forgotten in a crash; and not made unnecessary"),
        ),
    ),
    Schema(
        "verdicts",
        "A row for each projection and check; and one for answers of the source of truth (`truth`, `answers_right`), "
        "if it was asked.",
        columns(
            projection=PROJECTION,
            check=(TEXT, "the check: see below"),
            verdict=(TEXT, "pass, fail or unknown"),
            count=(INT, "number of violations"),
            witness=(TEXT, "one violation, step by step; if unknown, the reason"),
            deliveries=(INT, "deliveries that the witness was reduced to; null if it is about no single change"),
        ),
    ),
    Schema(
        "channel",
        "A row for each fate of the copies that were sent, to all projections together; no rows without a channel.",
        columns(
            fate=(
                TEXT,
                "delivered, duplicate (a second copy) or lost. Counted again among these: held (by an outage) and "
                "overtaken (by a later revision of its record)",
            ),
            messages=(INT, "number of copies"),
            share=(FLOAT, "share of all copies"),
            delay_p50_seconds=(FLOAT, "from commit to arrival, for half of the copies at most"),
            delay_p99_seconds=NINETY_NINE,
        ),
    ),
)
