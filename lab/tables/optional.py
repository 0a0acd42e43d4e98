"""The tables that a run has only if there is something to put in them."""

from __future__ import annotations

from lab.tables.schema import BOOL, FLOAT, INT, NINETY_NINE, PROJECTION, TEXT, WALL, Schema, columns

SCHEMAS = (
    Schema(
        "claims",
        "A row for each claim of the scenario, judged from all repetitions. Not there without one.",
        columns(
            claim=(TEXT, "its name; `claim-1` for the first one if it has none"),
            that=(TEXT, "what is claimed"),
            why=(TEXT, "why it should be so, as the scenario says; null if it doesn't"),
            verdict=(TEXT, "`verified`, `refuted` or `inconclusive`"),
            left=(FLOAT, "what is left of the comparison, in `unit`; the median over the repetitions. Null: not told"),
            right=(FLOAT, "what is right of it"),
            unit=(TEXT, "`s`, `bytes`, `share`, 1/s, or empty for plain numbers"),
            compared=(TEXT, "`ratio` (left by right) or `difference` (left less right). Null: nothing was compared"),
            value=(FLOAT, "the ratio or the difference; the median over the repetitions"),
            low=(FLOAT, "lower end of its 95 % interval. Null: there is none, as of counts, which are exact"),
            high=(FLOAT, "upper end of it"),
            repetitions=(INT, "number of repetitions that it was judged from"),
            reason=(
                TEXT,
                "why it is inconclusive, and what would decide it; of counts, in how many repetitions it doesn't hold. "
                "Else null",
            ),
        ),
    ),
    Schema(
        "source",
        "Your own data: what was read from each file, and what became of it. Not there for the lab's own domains.",
        columns(
            entity=(TEXT, "the entity that the file is read into"),
            column=(TEXT, "the column of the file; null: of the file as a whole"),
            what=(
                TEXT,
                "what is counted: `rows`, `malformed rows`, `changes`, `records`, `deletions`; of a column, values "
                "that are read as something else than they stand in the file",
            ),
            count=(INT, "how many"),
        ),
    ),
    Schema(
        "readers",
        "A row for each projection: sessions that commit a change, wait for it with a token, and read its record again "
        "and again. Not there with `readers.sessions = 0`.",
        columns(
            projection=PROJECTION,
            token=(TEXT, "what the sessions waited for: `checkpoint`, `revision`, `highest` or `none`"),
            reads=(INT, "number of reads"),
            answered=(INT, "sessions that were answered within their time limit"),
            stale=(INT, 'sessions that were told "stale" at the time limit'),
            unread=(INT, "sessions that were answered, and did not find what they had written"),
            backward=(INT, "reads that showed an older revision than the session's read before"),
            wait_p50_seconds=(FLOAT, "how long half of the answered sessions waited at most"),
            wait_p99_seconds=NINETY_NINE,
        ),
    ),
    Schema(
        "replicas",
        "One row: reads of several projections as replicas, with quorums. Only with a table `[replicas]`.",
        columns(
            replicas=(INT, "number of replicas"),
            read=(INT, "answers that a read waits for"),
            write=(INT, "confirmations that a write waits for"),
            reads=(INT, "number of reads, each of another write as far as there are enough"),
            unacknowledged=(INT, "writes that were never acknowledged, and are not read"),
            never=(INT, "of the reads: such as are consistent at no time"),
            consistent_at_once=(FLOAT, "share of the reads that are consistent right after the acknowledgement"),
            fresh_p99_seconds=(
                FLOAT,
                "99 of 100 reads are consistent so long after the acknowledgement; 0: at once. Null below 100 reads, "
                "or if more than one in 100 never is",
            ),
            fresh_p999_seconds=(FLOAT, "the same for 999 of 1,000; null below 1,000 reads"),
            write_p99_seconds=(
                FLOAT,
                "from the commit at the source of truth to the acknowledgement, for 99 of 100; null below 100 reads",
            ),
            write_p999_seconds=(FLOAT, "the same for 999 of 1,000; null below 1,000 reads"),
            read_p99_seconds=(
                FLOAT,
                "from the request to the last answer that is waited for, for 99 of 100; null below 100 reads",
            ),
            read_p999_seconds=(FLOAT, "the same for 999 of 1,000; null below 1,000 reads"),
        ),
    ),
    Schema(
        "replica_visibility",
        "Reads of replicas: t-visibility after the acknowledgement. Only with a table `[replicas]`.",
        columns(
            after_seconds=(FLOAT, "how long after the acknowledgement a read begins"),
            probability=(FLOAT, "share of the reads that are consistent then"),
        ),
    ),
    Schema(
        "query_samples",
        "Every time behind `queries`, without warm-up, and without queries whose time is not told. Not "
        "there in a run of `lab load`.",
        columns(
            projection=(TEXT, "its name; `truth` is the source of truth"),
            query=(TEXT, "the query's name"),
            temperature=(TEXT, "hot or cold"),
            block=(INT, "hot: the block's number in the run, from 0. Cold: the round's, warm-up included"),
            call=(INT, "hot: its place in the block, from 0. Cold: its place in the round, after how many others"),
            nanoseconds=(INT, "time around the store's `query`"),
        ),
        clock=WALL,
        note="For each projection and query there are `measure.samples` times (cold), and in each of `measure.blocks` "
        "blocks ten times as many (hot), at the most.",
    ),
    Schema(
        "beside",
        "Reads at the source of truth beside its commits, on one connection: the last changes once more, one by one, "
        "alone and with reads between them. A row for a commit, and for each query that it answers. Not there with "
        "`measure.truth = false`, and in a run of `lab load`.",
        columns(
            what=(TEXT, "`commit`, or the query's name"),
            alone_samples=(INT, "how often it was timed by itself: commits without reads, reads without commits"),
            alone_p50_us=(FLOAT, "time of one, for half of them at most"),
            alone_p50_low_us=(FLOAT, "lower end of its 95 % interval. Null: unknown"),
            alone_p50_high_us=(FLOAT, "upper end of it"),
            alone_mean_us=(FLOAT, "mean of the times"),
            beside_samples=(INT, "how often it was timed with the others between"),
            beside_p50_us=(FLOAT, "the same as `alone_p50_us`"),
            beside_p50_low_us=(FLOAT, "lower end of its 95 % interval. Null: unknown"),
            beside_p50_high_us=(FLOAT, "upper end of it"),
            beside_mean_us=(FLOAT, "mean of the times"),
        ),
        clock=WALL,
    ),
    Schema(
        "midrun",
        "A row for each projection: what it was asked while it was fed, at a few moments, and how often it was wrong "
        "by what had been written until then. Not there for a store that keeps nothing.",
        columns(
            projection=PROJECTION,
            looks=(INT, "number of moments at which it was asked"),
            records=(INT, "records asked for by their keys"),
            records_wrong=(INT, "of these: with a wrong answer"),
            contents=(INT, "whole contents of one entity that were read"),
            contents_wrong=(INT, "of these: that were not what had been written"),
            queries=(INT, "other queries of the scenario that were asked"),
            queries_wrong=(INT, "of these: with a wrong answer"),
        ),
    ),
    Schema(
        "transactions",
        "A row for each projection: what its readers saw of transactions that change several of its records. Not there "
        "if no transaction is known to.",
        columns(
            projection=PROJECTION,
            transactions=(INT, "transactions that change several records of it"),
            torn=(INT, "of these: a part was seen without the rest for some time"),
            impossible_share=(FLOAT, "at which share of all moments a part of some transaction was seen"),
            torn_at_once=(FLOAT, "number of transactions that were seen in part at a moment, on the average"),
            longest_seconds=(FLOAT, "the longest time for which one of them was seen in part"),
        ),
    ),
    Schema(
        "witnesses",
        "The witnesses of `verdicts`, step by step, for drawing. Not there if no check fails.",
        columns(
            projection=PROJECTION,
            check=(TEXT, "the check that failed"),
            step=(INT, "the order of the steps, from 0"),
            at_seconds=(FLOAT, "when it happened"),
            line=(TEXT, "where: `source`, `channel`, `projector` or `reader`"),
            label=(TEXT, "in brief: `r3`, `r4 †` for a tombstone, `cp 31`, `crash`"),
            detail=(TEXT, "in a sentence"),
            position=(INT, "the change that it is about"),
            delivery=(INT, "steps with one number belong to one delivery; null if it is part of none"),
            mark=(TEXT, "`wrong`, `lost`, `fault`, `read`, or empty"),
        ),
    ),
    Schema(
        "faults",
        "What went wrong, and when. Not there if nothing did.",
        columns(
            projection=(TEXT, "its name; empty for the source of truth"),
            kind=(TEXT, "`crash`, `refused_apply`, `poison`, `slow`, `rebuild`; `late_commit` at the source of truth"),
            step=(TEXT, "of a crash: before apply, between data and checkpoint, after checkpoint"),
            at_seconds=(FLOAT, "when it began"),
            until_seconds=(FLOAT, "when it was over"),
            position=(INT, "of a late commit, or of a change that the store can't take"),
            detail=(TEXT, "in words"),
        ),
    ),
    Schema(
        "gaps",
        "A row for each projection, if there are concurrent writers.",
        columns(
            projection=PROJECTION,
            strategy=(TEXT, "its gap strategy"),
            writers=(TEXT, "`simulated`; of a live run `processes`"),
            changes=(INT, "changes that it subscribes to"),
            lost=(INT, "of these: never visible"),
            given_up=(INT, "gaps that `hold` stopped waiting for"),
            stall_p50_seconds=(FLOAT, "what the strategy adds to the poll interval, for half of the changes at most"),
            stall_p99_seconds=NINETY_NINE,
            stall_max_seconds=(FLOAT, "the largest of them"),
            per_second=(FLOAT, "commits per second of the run's clock"),
            throughput=(FLOAT, "share of what the same writers reach when nothing makes them take turns"),
        ),
    ),
    Schema(
        "rebuilds",
        "A row for each projection that was rebuilt while changes kept coming. Readers look at records that were there "
        "before, 2,000 times, evenly over the rebuild.",
        columns(
            projection=PROJECTION,
            mode=(TEXT, "`in-place` or `blue-green`"),
            at_seconds=(FLOAT, "when it began"),
            seconds=(FLOAT, "how long it took"),
            changes=(INT, "changes delivered since it began"),
            reads=(INT, "number of reads"),
            partial_reads=(INT, "of these: the record was not there"),
            backward_reads=(INT, "of these: an older revision than before the rebuild"),
            behind_max_seconds=(FLOAT, "the age of the oldest commit that a reader did not see"),
            peak_bytes=(INT, "peak disk use, logs folded in"),
            resting_bytes=(INT, "disk use at the end of the run, logs folded in"),
        ),
    ),
    Schema(
        "parked",
        "What is still parked at the end. Not there if nothing is.",
        columns(
            projection=PROJECTION,
            entity=(TEXT, "the record's entity"),
            key=(TEXT, "the record's key"),
            position=(INT, "the change"),
            revision=(INT, "its revision"),
            reason=(TEXT, "why it is parked"),
        ),
    ),
    Schema(
        "fan_out",
        "A row for each projection in a document store: what it cost to keep parts of other records in the documents "
        "while the projection was fed. A rebuild on the side is not counted. Not there without such a store, and not "
        "if its work is modelled: then all changes are applied in large pages, not in batches.",
        columns(
            projection=PROJECTION,
            store=(TEXT, "its store"),
            changes=(INT, "changes applied, as in `accounting`"),
            documents_written=(INT, "documents written; of a batch's changes of one record, only the last is written"),
            fanned_out=(INT, "of these: written only because another record changed that they hold a part of"),
            ratio=(FLOAT, "`fanned_out` by `changes`; null without a change"),
        ),
    ),
    Schema(
        "work",
        "A row for each piece of work of a projection: changes that were applied together. Only of runs whose work "
        "was measured. Left out is what faults cut off or repeat: crashes, refused batches, parked changes, retries. A "
        'scenario can draw its modelled times from it: `distribution = "empirical"`.',
        columns(
            projection=PROJECTION,
            source=(TEXT, "`catch-up` or `channel`"),
            rows=(INT, "changes in it"),
            seconds=(FLOAT, "how long the store itself took to apply them; planted slowness is divided out"),
        ),
        clock=WALL,
    ),
    Schema(
        "deliveries",
        "A row for each copy that was sent to a projection. Only if there is a channel.",
        columns(
            projection=(TEXT, "its name; empty where one draw serves all (`channel.draws`)"),
            position=(INT, "the change that it carries"),
            copy=(INT, "0 is the message, 1 its duplicate"),
            fate=(TEXT, "delivered, duplicate or lost"),
            sent_at=(FLOAT, "when the change was committed"),
            arrives_at=(FLOAT, "null if lost"),
            held=(BOOL, "whether an outage made it wait"),
            overtaken=(BOOL, "whether a later revision of its record came first"),
            message=(INT, "`position` less 1"),
        ),
    ),
)
