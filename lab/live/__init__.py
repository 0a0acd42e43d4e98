"""Live runs: a scenario on the wall clock, with real concurrent writers and a process for each projection.

The *writers* are processes that execute the scenario's commands at their times; each has the source of truth open by
itself. The *projections* are the processes that a service has too. The *hub* passes on messages, and loses, doubles and
delays them as the scenario says. What they write down is judged afterwards (`judging`), as that of a load is.
"""
