"""Statistics on arrays of samples, for the whole lab. Pure functions that know nothing of runs.

`quantiles` and `intervals` are about the samples of one run, `dependence` about how many they are worth, `replicated`
and `covariance` about repetitions and the ratio of two runs, `bootstrap` about figures of groups that are no mean,
`equivalence` and `several` about what comparisons say, `changes` and `steady` about series in time (MSER-5 among them),
`powers` about growth with size. `tests/statistics` counts how often each interval holds the true value.
"""
