"""The runner: when a projection takes messages and polls, which faults it meets, and what happened.

A lane decides when; a worker does the work and records it in the journal; `swap` rebuilds while changes keep coming;
`trouble` wraps faults around the store.
"""
