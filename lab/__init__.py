"""Polyglot persistence lab: one source of truth, many projected read models, broken messages, honest measurement."""

from lab.runs import Run, load_run

__all__ = ["Run", "load_run"]
