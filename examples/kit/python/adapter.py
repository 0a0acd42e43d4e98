"""Lets `lab check --exec "python3 readmodel.py"` try a consumer: lines of JSON, on standard input and output.

A consumer is a class that is called with a folder and has `apply(changes)` and `rows()`. What it keeps in the folder
outlives a crash: called with the same folder again, it must go on from there.
"""

import json
import os
import signal
import sys
import traceback


def serve(consumer_of, keeps=True, **wanted):
    """Answer the lab's requests until standard input ends. `wanted`: `key` and `columns`, if not the lab's own."""
    # What the consumer prints must not get between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    consumer = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "init":
                consumer = consumer_of(request["folder"])
                done = {"ok": True, "keeps": keeps, "tears": True, **wanted}
            elif request["do"] == "apply":
                consumer.apply(dying(request["changes"], request.get("die_after")))
                done = {"ok": True}
            elif request["do"] == "rows":
                done = {"ok": True, "rows": consumer.rows()}
            else:
                done = {"error": f"there is no request {request['do']!r}"}
        except Exception as error:
            traceback.print_exc()
            done = {"error": f"{type(error).__name__}: {error}".removesuffix(": ")}
        answers.write(json.dumps({"id": request["id"], **done}) + "\n")
        answers.flush()


def dying(changes, after):
    """Hand the changes over one by one; the process ends itself after so many of them, if it is to."""
    for number, change in enumerate(changes):
        if number == after:
            os.kill(os.getpid(), signal.SIGKILL)
        yield change
    if after is not None:
        os.kill(os.getpid(), signal.SIGKILL)


def save(path, value):
    """Write a file whole or not at all, whenever the process is killed."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(value))
    new.replace(path)
