"""The registry of checks: what each looks for, the name and meaning of a violation, and its remedy.

This is the one place where a check is described: for the report, the course, the documentation, the verdict on a run
and `lab check` on a projector. It is a low room, since those are above it and do not import each other. The functions
stand beside what they look at, under the same name: `verdict/effects.py` and `verdict/contents.py` look at the evidence
of a run, `kit/properties.py` at the trials of a projector.
"""

from __future__ import annotations

from lab.checks.check import CHAPTERS, Check
from lab.checks.projectors import ALONE

_ALL = (
    Check(
        "converged",
        "diverged projection",
        holds="the content is what the source of truth amounts to, row by row",
        meaning=(
            "All changes have arrived and the projection still differs from the source of truth. It won't mend "
            "itself: only a rebuild brings it back."
        ),
        mending="Rebuild the projection, and mend what the other failed checks point at before it diverges again.",
        chapter="06",
        advice=(
            "Begin here: nothing was repeated, lost or out of order. Write the whole state of each change under "
            "its key, and take the record out when `deleted` is true."
        ),
    ),
    Check(
        "no_loss",
        "lost change",
        holds="every change became visible, itself or by a later revision; or it is parked, and known to be",
        meaning=(
            "A committed change never became visible, and nothing is on its way that would show it. A channel "
            "alone can lose messages; only catch-up from the checkpoint finds them again."
        ),
        mending="Subscribe to catch-up as well as to the channel, so that what a message didn't bring is asked for.",
        chapter="03",
        advice=(
            "Decide for each key by its revision, never by the highest position seen so far: catch-up brings "
            "changes that are older than what messages brought already."
        ),
    ),
    Check(
        "no_double_effect",
        "double effect",
        holds="nothing counts twice",
        meaning=(
            "A change that was delivered more than once was counted more than once. Delivery is at least once, so"
            " the projector must recognise what it has already applied."
        ),
        mending="Give the projector a guard that remembers: `dedupe`, `revision` or, for sums, `ordered`.",
        chapter="05",
        advice=(
            "Remember what has been applied: keep the highest revision of each key and ignore what is not higher,"
            " and write with INSERT ... ON CONFLICT (key) DO UPDATE, so that a key has one row."
        ),
    ),
    Check(
        "no_resurrection",
        "resurrection",
        holds="what was deleted stays deleted",
        meaning=(
            "A record that was deleted at the source of truth is alive again in the projection. A late message "
            "from before the delete found no tombstone to stop it."
        ),
        mending="Use the guard `revision`, which keeps tombstones and refuses what is older than they are.",
        chapter="05",
        advice=(
            "Keep the tombstone: mark the row deleted with its revision instead of removing it, and ignore every "
            "change of that key whose revision is not higher."
        ),
    ),
    Check(
        "per_key_order",
        "stale overwrite",
        holds="a record's revisions are written in rising order",
        meaning=(
            "An older revision of a record was written over a newer one. Messages overtake each other, so the "
            "last to arrive is not the last that happened."
        ),
        mending="Use the guard `revision`, which keeps the highest revision of each record, not the last to come.",
        chapter="05",
        advice=(
            "Keep each key's revision beside its state, compare it as a number, and ignore a change that is not higher."
        ),
    ),
    Check(
        "no_rewind",
        "rewind",
        holds="the checkpoint never goes back",
        meaning=(
            "The stored checkpoint or the content went back to an earlier position. What readers had seen already"
            " was gone again, until the projector had come as far a second time."
        ),
        mending="Rebuild beside (blue/green) and switch readers over, and never store a checkpoint below the last one.",
        chapter="06",
        advice="A replay begins with old changes: compare revisions before writing, and never move a checkpoint back.",
    ),
    Check(
        "checkpoint_sound",
        "torn checkpoint",
        holds='whenever the checkpoint said "everything up to here", all that was committed up to there was in',
        meaning=(
            "The checkpoint promises changes that the data doesn't hold. After a restart catch-up begins behind "
            "them, and never asks for them again."
        ),
        mending="Write the data and the checkpoint in one transaction, so that they land together or not at all.",
        chapter="05",
        advice=(
            "Write the data and the checkpoint in one transaction, and move the checkpoint by catch-up only: a "
            "message says nothing of the changes before it."
        ),
    ),
    Check(
        "no_skipped_gap",
        "skipped gap",
        holds="what commits late, behind the reader's cursor, is seen all the same",
        meaning=(
            "A change took its position early and was committed late, when the reader's cursor had passed that "
            "position. Catch-up asks only for what comes after its cursor, so the change is never asked for."
        ),
        mending="Choose the gap strategy `serialise`, `horizon` or `hold` instead of `naive`.",
        chapter="03",
        advice=(
            "A lower position may be committed after a higher one. Don't ignore a change because its position is "
            "below the highest; read up to the oldest open transaction only."
        ),
    ),
    Check(
        "monotonic_reads",
        "non-monotonic read",
        holds="a reader who looks twice never sees an older revision",
        meaning=(
            "A reader saw a record at one revision and later at an earlier one. Time seemed to run backwards for "
            "that reader, although no one changed anything back."
        ),
        mending='Let each session carry the highest position that it has seen, and wait for it or say "stale".',
        chapter="07",
        advice="Let catch-up go through the same guard as messages: what is older than the row is not written.",
    ),
    Check(
        "read_your_writes",
        "unread own write",
        holds="a writer who waits for the position of a write then reads it",
        meaning=(
            "A writer waited for the position of the write and still read the state before it. The "
            "projection said that it had come that far when it had not."
        ),
        mending="Let the session wait for the checkpoint, not for the highest position that any message brought.",
        chapter="07",
        advice="Make a change visible before `apply` returns: who is told that a position is in goes and reads it.",
    ),
    Check(
        "no_phantom",
        "phantom row",
        holds="every row that is shown is one that the source of truth had at some time",
        meaning=(
            "The projection shows a row, or content of a row, that the source of truth never had. A reader "
            "decides on something that never happened, and no later change takes it back."
        ),
        mending="Read committed changes only, apply each as it was published, and rebuild to be rid of the row.",
        chapter="05",
        advice="Write each change as it was published: all of its columns together, nulls included, in one statement.",
    ),
    Check(
        "no_torn_transaction",
        "torn transaction",
        holds="no reader sees a part of a transaction",
        meaning=(
            "Some changes of one transaction were visible while others were not: money had left one account and had "
            "not come to the other. Each record was right by itself, and what was said of both together never was."
        ),
        mending=(
            "Subscribe to catch-up alone, with a batch and a page that take all that is committed between two polls, "
            "or have readers wait for the position of what they must see."
        ),
        chapter="05",
        advice=(
            "Hold changes back until all of their `transaction` are there (`transaction_size` says how many), and "
            "write them in one transaction; read all entities by one cursor."
        ),
    ),
    Check(
        "rebuild_equals_live",
        "rebuild differs from live",
        holds="projected again from position 0, the content is the same",
        meaning=(
            "Projected again from position 0, the projection holds something else than the live one. It depends "
            "on how the changes travelled, so it is not disposable."
        ),
        mending="Let the content follow from the changes alone: not from arrival order, clocks or repetition.",
        chapter="06",
    ),
    Check(
        "accounting",
        "unaccounted change",
        holds="`committed = applied + superseded + parked + skipped + pending`",
        meaning=(
            "Applied, superseded, parked, skipped and pending changes don't add up to those committed. A change "
            "that is in no column went missing, or one is in two."
        ),
        mending="Follow the change through the journal of deliveries: it was dropped in silence, or handled twice.",
        chapter="04",
    ),
    Check(
        "answers_right",
        "wrong answer",
        holds="every answer given while measuring is the oracle's",
        meaning=(
            "A query was answered differently from the oracle that folds the source of truth. A wrong answer has "
            "no time: its latency is left out everywhere."
        ),
        mending=(
            "Mend the content first if `converged` fails too; otherwise compare the store's query with the oracle's."
        ),
        chapter="06",
    ),
    Check(
        "midrun_reads",
        "wrong read in mid-run",
        holds="every answer given while changes keep coming is that of all that had been written by then",
        meaning=(
            "A projection that was asked while it was fed answered otherwise than by what had been written to it. "
            "Its content may be right in the end, and its readers were told something else until then."
        ),
        mending="Make a write visible as a whole before `apply` returns, and drop cached answers with every write.",
        chapter="07",
    ),
    Check(
        "values_preserved",
        "altered value",
        holds="values that are awkward to keep come back as they were written: texts, numbers, nulls and keys",
        meaning=(
            "The store was given values like ' a', '007', 2^53 + 1 or 0.1 before the run, and held or answered "
            "something else. What the scenario's own data is like doesn't matter: data that has such values is altered."
        ),
        mending="Give the column a type that holds the value as it is, or let the store raise CannotTake for it.",
        chapter="06",
        advice=(
            "Bind values as parameters, give each column a type that holds them (64-bit numbers, text that keeps case, "
            "blanks and nulls), and ask `is None`: 0, '' and false are values."
        ),
    ),
    Check(
        "survives_crash",
        "lost or doubled by a crash",
        holds="what was acknowledged outlives a restart; what was interrupted does no harm when it comes again",
        meaning=(
            "Before the run, processes were killed while they wrote to a store of this kind, and it was opened again. "
            "Something that had been confirmed was gone, or a batch was there in part, or without its checkpoint."
        ),
        mending="Write rows, guard memory and checkpoint in one transaction that is committed before `apply` returns.",
        chapter="05",
        advice=(
            "Apply a batch in one transaction, all or nothing, commit before returning, and expect that a batch "
            "that was not acknowledged comes again."
        ),
    ),
)

# In the order in which they are judged, listed and shown: the first to fail is the best place to begin.
CHECKS: dict[str, Check] = {check.name: check for check in (*_ALL, *ALONE)}
OF_RUNS: dict[str, Check] = {name: check for name, check in CHECKS.items() if check.meaning}
OF_PROJECTORS: dict[str, Check] = {name: check for name, check in CHECKS.items() if check.advice}

__all__ = ["CHAPTERS", "CHECKS", "OF_PROJECTORS", "OF_RUNS", "Check"]
