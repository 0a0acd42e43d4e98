"""Load: a scenario is served, Locust drives it from outside, and what happened becomes a run folder like any other.

Locust is a program of its own: it loads `users.py`, which nothing else imports. Lag comes from what the service's
processes wrote down of every change, latency from Locust's workers; all on the wall clock of one machine.
"""
