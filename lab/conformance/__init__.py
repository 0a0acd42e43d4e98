"""Tries the stores of a run before it: values that are awkward to keep, and crashes of a process inside a store.

All of it happens in processes of its own (`python -m lab.conformance`), on stores below the run's work folder, so that
no figure of the run is touched. `values` is the one place where awkward values are listed.
"""
