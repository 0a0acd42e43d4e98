"""The report's fixed texts: marks of verdicts, the anomaly that each check catches, lines of a witness, clocks."""

from __future__ import annotations

MARKS = {"pass": "✓", "fail": "✗", "unknown": "?"}

# Each check: the anomaly that it catches, and what that means for a reader of the projection.
ANOMALIES: dict[str, tuple[str, str]] = {
    "converged": (
        "diverged projection",
        "All changes have arrived and the projection still differs from the source of truth. "
        "It won't mend itself: only a rebuild brings it back.",
    ),
    "no_loss": (
        "lost change",
        "A committed change never became visible, and nothing is on its way that would show it. "
        "A channel alone can lose messages; only catch-up from the checkpoint finds them again.",
    ),
    "no_double_effect": (
        "double effect",
        "A change that was delivered more than once was counted more than once. "
        "Delivery is at least once, so the projector must recognise what it has already applied.",
    ),
    "no_resurrection": (
        "resurrection",
        "A record that was deleted at the source of truth is alive again in the projection. "
        "A late message from before the delete found no tombstone to stop it.",
    ),
    "per_key_order": (
        "stale overwrite",
        "An older revision of a record was written over a newer one. "
        "Messages overtake each other, so the last to arrive is not the last that happened.",
    ),
    "no_rewind": (
        "rewind",
        "The stored checkpoint or the content went back to an earlier position. "
        "What readers had seen already was gone again, until the projector had come as far a second time.",
    ),
    "checkpoint_sound": (
        "torn checkpoint",
        "The checkpoint promises changes that the data doesn't hold. "
        "After a restart catch-up begins behind them, and nobody ever asks for them again.",
    ),
    "no_skipped_gap": (
        "skipped gap",
        "A change took its position early and was committed late, when the reader's cursor had passed that position. "
        "Catch-up asks only for what comes after its cursor, so the change is never asked for.",
    ),
    "monotonic_reads": (
        "non-monotonic read",
        "A reader saw a record at one revision and later at an earlier one. "
        "Time seemed to run backwards for that reader, although no one changed anything back.",
    ),
    "read_your_writes": (
        "unread own write",
        "Whoever wrote waited for the position of the write and still read the state before it. "
        "The projection said that it had come that far when it had not.",
    ),
    "no_phantom": (
        "phantom row",
        "The projection shows a row, or content of a row, that the source of truth never had. "
        "A reader decides on something that never happened, and no later change takes it back.",
    ),
    "rebuild_equals_live": (
        "rebuild differs from live",
        "Projected again from position 0, the projection holds something else than the live one. "
        "It depends on how the changes travelled, so it is not disposable.",
    ),
    "accounting": (
        "unaccounted change",
        "Applied, superseded, parked, skipped and pending changes don't add up to those committed. "
        "A change that is in no column went missing, or one is in two.",
    ),
    "answers_right": (
        "wrong answer",
        "A query was answered differently from the oracle that folds the source of truth. "
        "A wrong answer has no time: its latency is left out everywhere.",
    ),
}

# The lines of a witness's timeline, from top to bottom.
LINES = {"source": "source of truth", "channel": "channel", "projector": "projector", "reader": "reader"}
