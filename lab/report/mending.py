"""What mends each anomaly, and the chapter that teaches it: the other half of `words.ANOMALIES`."""

from __future__ import annotations

CHAPTERS: dict[str, str] = {
    "03": "the catch-up subscription",
    "04": "messages go wrong",
    "05": "idempotency is crucial",
    "06": "throw it away and rebuild",
    "07": "how stale is stale",
}

# Each check: the chapter of the notebooks, and how to mend what it catches, in one sentence.
MENDING: dict[str, tuple[str, str]] = {
    "converged": (
        "06",
        "Rebuild the projection, and mend what the other failed checks point at before it diverges again.",
    ),
    "no_loss": (
        "03",
        "Subscribe to catch-up as well as to the channel, so that what a message didn't bring is asked for.",
    ),
    "no_double_effect": (
        "05",
        "Give the projector a guard that remembers: `dedupe`, `revision` or, for sums, `ordered`.",
    ),
    "no_resurrection": (
        "05",
        "Use the guard `revision`, which keeps tombstones and refuses what is older than they are.",
    ),
    "per_key_order": (
        "05",
        "Use the guard `revision`, which keeps the highest revision of each record, not the last to come.",
    ),
    "no_rewind": (
        "06",
        "Rebuild beside (blue/green) and switch readers over, and never store a checkpoint below the last one.",
    ),
    "checkpoint_sound": (
        "05",
        "Write the data and the checkpoint in one transaction, so that they land together or not at all.",
    ),
    "no_skipped_gap": (
        "03",
        "Choose the gap strategy `serialise`, `horizon` or `hold` instead of `naive`.",
    ),
    "monotonic_reads": (
        "07",
        'Let each session carry the highest position that it has seen, and wait for it or say "stale".',
    ),
    "read_your_writes": (
        "07",
        "Let the session wait for the checkpoint, not for the highest position that any message brought.",
    ),
    "no_phantom": (
        "05",
        "Read committed changes only, apply each as it was published, and rebuild to be rid of the row.",
    ),
    "rebuild_equals_live": (
        "06",
        "Let the content follow from the changes alone: not from arrival order, clocks or repetition.",
    ),
    "accounting": (
        "04",
        "Follow the change through the journal of deliveries: it was dropped in silence, or handled twice.",
    ),
    "answers_right": (
        "06",
        "Mend the content first if `converged` fails too; otherwise compare the store's query with the oracle's.",
    ),
}


def chapter(check: str) -> str:
    """The chapter that teaches an anomaly: `chapter 04, messages go wrong`; empty for an unknown check."""
    number = MENDING.get(check, ("", ""))[0]
    return f"chapter {number}, {CHAPTERS[number]}" if number else ""
