"""The lab as a service: an HTTP front, with the source of truth and each projection in processes of their own.

The *executor* alone writes the source of truth. Each *projection* is a process that owns its store: it catches up from
the source of truth's file, receives commits as messages, and answers queries. The *front* speaks HTTP, and restarts
processes that die. They exchange frames over Unix sockets in a folder that only this user can enter.
"""
