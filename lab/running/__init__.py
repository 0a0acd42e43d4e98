"""Running: a projection over time. When it takes messages and polls, what goes wrong, and what happened.

A lane decides when; a worker does it and notes it in the journal; `swap` rebuilds while changes keep coming;
`trouble` plants faults around the store.
"""
