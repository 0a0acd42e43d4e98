"""The tables that explain the lag."""

from __future__ import annotations

from lab.tables.schema import FLOAT, INT, NINETY_NINE, PROJECTION, TEXT, Schema, columns

SCHEMAS = (
    Schema(
        "lag_parts",
        "A row for each projection and change that became visible in it: what its lag was spent on. The columns add up "
        "to `lag_seconds` of the table `lag`, to the last bit. Not there in a run of `lab load`.",
        columns(
            projection=PROJECTION,
            position=(INT, "the change"),
            wait_seconds=(
                FLOAT,
                "from commit until its message arrived, or until the poll was due that read it; with that of another "
                "change for which it had to wait, and with what a strategy for gaps kept back",
            ),
            queue_seconds=(FLOAT, "the projector was busy with what came before it; reading its page is part of it"),
            linger_seconds=(FLOAT, "the projector was idle until the batch was full, or had lingered long enough"),
            work_seconds=(FLOAT, "the store's work on the piece in which it was"),
            refresh_seconds=(
                FLOAT,
                "written, and not visible yet: until a refresh, or in a projection that was built beside another",
            ),
            repair_seconds=(
                FLOAT,
                "lost, parked, dropped or cut off by a crash until catch-up, a retry or a later revision brought it; "
                "and while the projector was down",
            ),
        ),
        note="A change is visible when its projection shows that revision or a later one, so it can be carried by a "
        "later revision. Then the parts are those of the write that carried it.",
    ),
    Schema(
        "lag_parts_summary",
        "A row for each projection and part of its lag, with the settings that decide most of it. Not there in a run "
        "of `lab load`.",
        columns(
            projection=PROJECTION,
            part=(TEXT, "`wait`, `queue`, `linger`, `work`, `refresh` or `repair`: see `lag_parts`"),
            mean_seconds=(FLOAT, "its mean over all changes that became visible"),
            share=(FLOAT, "its share of the mean lag. Null: the lag is 0"),
            median_seconds=(FLOAT, "its mean over the changes in the middle: of lags from p45 to p55"),
            median_share=(FLOAT, "its share of their mean lag"),
            slowest_seconds=(FLOAT, "its mean over the slowest 1 % of the changes. Null with fewer than 100"),
            slowest_share=(FLOAT, "its share of their mean lag"),
            batch=(INT, "the projection's `batch`"),
            linger_seconds=(FLOAT, "its `linger`. Null: it takes no messages"),
            every_seconds=(FLOAT, "the interval of its polls. Null: it doesn't poll"),
            guard=(TEXT, "its guard"),
        ),
    ),
    Schema(
        "recovery",
        "A row for each projection and each outage, crash or slow period: how it recovered. Faults that begin before "
        "the one before is over share a row. Not there without such a fault, nor in a run of `lab load`.",
        columns(
            projection=PROJECTION,
            fault=(TEXT, "`outage`, `crash` or `slow`; several, with commas, if they share the row"),
            faults=(INT, "how many faults it stands for"),
            at_seconds=(FLOAT, "when it began"),
            until_seconds=(FLOAT, "when it ended"),
            band_seconds=(
                FLOAT,
                "the upper end of the lag before: the p99 of the changes that were visible when it began (of fewer "
                "than 100 the largest). Null: fewer than 10",
            ),
            debt_peak=(INT, "the most changes that were committed and not visible, until it was over"),
            peak_at_seconds=(FLOAT, "when that was"),
            drained_per_second=(FLOAT, "by how many changes a second the debt fell from then on. Null: not over"),
            back_after_seconds=(
                FLOAT,
                "from the fault's end until the commit of the first change whose lag was back in the band, as 95 of "
                "the next 100 were. Null: not by the end of the run",
            ),
            head_room=(FLOAT, "`drained_per_second` by the rate of commits: capacity beyond what arrives"),
            head_room_needed=(FLOAT, "what it would have to be for the debt to be gone in as long as the fault lasted"),
            reason=(TEXT, "why a figure is missing"),
        ),
        note="Of a projection that has rho of its capacity to do, an outage of L seconds leaves a debt of L times the "
        "rate, which is gone L rho / (1 - rho) after its end.",
    ),
    Schema(
        "utilisation",
        "A row for each projection: which share of the time its lane was busy. Not there in a run of `lab load`.",
        columns(
            projection=PROJECTION,
            span_seconds=(FLOAT, "from the start until the last change was committed"),
            busy_seconds=(FLOAT, "of these: it read pages or applied batches"),
            batches=(INT, "pieces of work that began in that time"),
            rows=(INT, "changes in them, counted again each time that they were delivered"),
            per_batch_seconds=(FLOAT, "what a piece of work takes whatever is in it, by least squares"),
            per_row_seconds=(FLOAT, "what each change adds to it"),
            busy_share=(FLOAT, "`busy_seconds` by `span_seconds`; near 1, it is at its limit"),
            busy_share_foretold=(
                FLOAT,
                "the same with 25 % more changes; above 1, it can't keep up. Batches get larger up to `batch`, and "
                "then more",
            ),
        ),
    ),
    Schema(
        "what_if",
        "A row for each projection and each other setting that was tried with the same commits, deliveries and times "
        "of the store, by simulation without a store. Not there in a run of `lab load`.",
        columns(
            projection=PROJECTION,
            what=(TEXT, "the setting: `as it is`, `every 0.1 s`, `no linger`, or a `batch` ten times as large"),
            p50_seconds=(FLOAT, "the lag that half of all changes don't exceed"),
            p99_seconds=NINETY_NINE,
            p50_difference_seconds=(FLOAT, "by how much the p50 exceeds that of `as it is`, change by change the same"),
            p50_difference_low_seconds=(FLOAT, "lower end of its 95 % interval. Null: unknown"),
            p50_difference_high_seconds=(FLOAT, "upper end of it"),
            p99_difference_seconds=(FLOAT, "the same of the p99"),
            p99_difference_low_seconds=(FLOAT, "lower end of its 95 % interval. Null: unknown"),
            p99_difference_high_seconds=(FLOAT, "upper end of it"),
            reason=(
                TEXT,
                "why there is no answer, or no interval; `not stable at this rate` if the lag grows without end",
            ),
        ),
        note="Where the store's work was measured, its times are drawn from those of the run by the number of rows, "
        "also for `as it is`. Where it was modelled, a row is to the last bit what a run with that setting gives.",
    ),
)
