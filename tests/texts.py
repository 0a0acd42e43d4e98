"""Scenarios as text, which several tests run with settings of their own."""

BASE = """
schema = 1
name = "faulty"
seed = 7
[domain]
name = "employees"
records = 40
[workload]
commands = 600
rate = 300.0
skew = 0.5
deletes = 0.05
[truth]
model = "history"
[catch_up]
every = 0.2
page = 100
[channel]
delay = { kind = "exponential", mean = 0.02 }
duplicate = 0.2
lose = 0.02
reorder = { share = 0.3, extra = { kind = "exponential", mean = 0.1 } }
[time]
service = "modelled"
[measure]
samples = 1
warm_up = 0
rebuild = false
[readers]
sessions = 50
"""

WRITERS = """
[writers]
count = 6
hold = { kind = "exponential", mean = 0.02 }
sleep = { share = 0.02, lasts = { mean = 0.6 } }
abort = 0.05
"""
STRATEGIES = "".join(
    f'[[projection]]\nname = "{name}"\nstore = "memory"\nsubscribe = "catch-up"\ngaps = "{name}"\ngap_limit = 3.0\n'
    for name in ("naive", "serialise", "horizon", "hold")
)
