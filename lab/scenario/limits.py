"""How large a scenario and its values may be, and why: whatever is larger is refused before anything is done.

The limits are far above what a run on one machine can do. They are there for mistakes: a zero too many, a
file that isn't a scenario, a loop that writes one. `lab.wiring.effort` estimates what the values ask for together.
"""

from __future__ import annotations

# A scenario is written and read by people. Parsing takes a few microseconds a byte, and some constructs more.
FILE_BYTES = 1_000_000
# The deepest key of a scenario has five parts; a parser takes memory that grows with the square of them.
KEY_PARTS = 32
# Tables and lists within each other.
NESTING = 32
# The most mistakes reported at once; the rest are counted.
PROBLEMS_TOLD = 50

# About 31 years in seconds. In a double of that size a microsecond can still be told apart.
SECONDS_MAX = 1e9
# A microsecond: shorter intervals between polls or tries can't be told apart at the longest times.
INTERVAL_MIN = 1e-6
# Weights, factors, rates: any ratio of two of them is an ordinary number.
RATIO_MAX = 1e9
# Numbers of rows, messages, records: memory is not taken for them, but for what is really there.
COUNT_MAX = 2**40

# The most projections: each has a store with files of its own, and a process under `lab serve`.
PROJECTIONS_MAX = 100
# The most repetitions of a run: each is a process, and they are held against each other one by one.
REPEAT_MAX = 1_000
# The most queries: their statements are kept translated, and every projection is asked each of them.
QUERIES_MAX = 250
# The most pages that are made of several projections.
PAGES_MAX = 20
# The most claims.
CLAIMS_MAX = 100
# The most files of the user's own, and the most entities of a domain.
ENTITIES_MAX = 100
# The most columns, conditions or parameters in one query; the most columns of one file that are named.
COLUMNS_MAX, FILE_COLUMNS_MAX = 100, 2_000
# The most partitions of a projection, each with a lane, two connections and a lease of its own: a server with its usual
# 100 connections has room for them.
PARTITIONS_MAX = 32
# Reads of sessions, and of the parts of pages, are computed at once, in arrays of this length.
READS_MAX = 10_000_000
# The most outages, crashes or slow periods.
PERIODS_MAX = 1_000
# The most values of an empirical delay: a file with more is thinned to so many quantiles. The most parts of a mixture.
DELAY_VALUES_MAX, PARTS_MAX = 10_000, 20
# The most characters in a name, in a path and in a statement of the user's own.
WORD_MAX, PATH_MAX, STATEMENT_MAX = 200, 4_096, 10_000
