"""The lab as a service: an HTTP face, and behind it the source of truth and each projection as processes of their own.

The *executor* alone writes the source of truth. Each *projection* is a process that owns its store: it catches up from
the source of truth's file, hears of commits by messages, and answers queries. The *front* speaks HTTP, and starts again
whatever dies. They talk over sockets in a folder that only this user can enter.
"""
