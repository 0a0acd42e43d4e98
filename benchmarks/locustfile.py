"""Locust on a running `lab serve`; the rows and the environment are described in `lab/load/users.py`.

locust -f benchmarks/locustfile.py --host http://127.0.0.1:8087                    # with Locust's web page
LAB_RATE=200 locust -f benchmarks/locustfile.py --headless -u 2 --processes 2 ...  # open loop, as `lab load` does
"""

from lab.load.users import CommandUser, OpenLoop, QueryUser

__all__ = ["CommandUser", "OpenLoop", "QueryUser"]
