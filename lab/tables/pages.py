"""The tables of pages whose parts are read from several projections, and of tombstones that expire."""

from __future__ import annotations

from lab.tables.schema import FLOAT, INT, PROJECTION, TEXT, Schema, columns

_POLICY = (TEXT, "`none`, `slowest` (all parts as of the lowest checkpoint) or `each` (again until they are the same)")

SCHEMAS = (
    Schema(
        "pages",
        "A row for each page and policy: whether the parts of a page, read from several projections, show one cut, and "
        "what the policy costs. Only with `[[page]]`. See [pages](measuring.md#pages-made-of-several-stores).",
        columns(
            page=(TEXT, "the page's name"),
            policy=_POLICY,
            visits=(INT, "number of visits, at random over the run"),
            answered=(INT, "of these: answered within the page's time. Null: the policy can't be followed"),
            mixed=(INT, "of those answered: the parts show no one cut"),
            mixed_share=(FLOAT, "`mixed` by `answered`; null if none was answered"),
            ids=(INT, "records that the first part found, over all visits"),
            dangling=(INT, "how often a later part that looks them up didn't have one of them"),
            versions_apart=(FLOAT, "how many revisions a record that is shown by two parts differs by; the mean"),
            versions_apart_max=(INT, "the largest such difference"),
            wait_p50_seconds=(FLOAT, "what the policy adds to the time of a visit, for half of those answered"),
            wait_p99_seconds=(FLOAT, "the same for 99 of 100; null of fewer than 100"),
            age_p50_seconds=(
                FLOAT,
                "for how long the oldest change that a visit doesn't show had been committed; for half of those "
                "answered at most",
            ),
            age_p99_seconds=(FLOAT, "the same for 99 of 100; null of fewer than 100"),
            reason=(TEXT, "why the policy can't be followed; else null"),
            witness=(TEXT, "one visit whose parts show no one cut; null without any"),
        ),
    ),
    Schema(
        "tombstones",
        "A row for each projection that knows what was deleted, if one of them forgets it in time (`tombstones`).",
        columns(
            projection=PROJECTION,
            retention_seconds=(FLOAT, "for how long it keeps a tombstone; null: no limit in time"),
            retention_rows=(INT, "how many it keeps; null: any number"),
            kept=(INT, "how many it kept at the most"),
            kept_bytes=(INT, "what these take, by the size of its store for each row"),
            expired=(INT, "how many it forgot"),
            resurrected=(INT, "how often a late message brought back what was deleted"),
        ),
    ),
    Schema(
        "page_times",
        "A row for each page, policy and fortieth of the run: visits that began in it. Only with `[[page]]`.",
        columns(
            page=(TEXT, "the page's name"),
            policy=_POLICY,
            at_seconds=(FLOAT, "when that part of the run begins"),
            visits=(INT, "number of visits"),
            answered=(INT, "of these: answered within the page's time"),
            mixed=(INT, "of those answered: the parts show no one cut"),
            dangling=(INT, "how often an id that was found was not there in a later part"),
        ),
    ),
)
