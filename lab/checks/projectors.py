"""The checks that are made of projectors alone."""

from __future__ import annotations

from lab.checks.check import Check

ALONE = (
    Check(
        "created_again",
        "lost return",
        holds="a record that is deleted and created again is shown again",
        advice=(
            "A delete says that the record is gone as of its revision, not for ever: a change with a higher revision "
            "brings it back, and a delete with a lower one doesn't take it away."
        ),
    ),
    Check(
        "batch_independent",
        "batch dependence",
        holds="however the changes are cut into batches, the content is the same",
        advice=(
            "Apply the changes of a batch one after the other in their order; where a batch is merged first, keep the "
            "change with the highest revision of each key, deletes included."
        ),
    ),
    Check(
        "one_owner",
        "former owner's write",
        holds="what a former owner still writes changes nothing that its successor wrote",
        advice=(
            "Compare revisions in the store, in the statement that writes; or give each owner a rising number (a "
            "fencing token), keep the highest one beside the data, and refuse writes with a lower one."
        ),
    ),
)
