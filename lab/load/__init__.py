"""Load: a scenario is served, Locust drives it from outside, and what happened becomes a run folder like any other.

Locust is a program of its own and is never imported here. Lag comes from what the service's processes wrote down of
every change, latency from what Locust's workers did; all on the wall clock of one machine.
"""
