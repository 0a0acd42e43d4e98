"""The only place where a scenario's words become objects (`plan`); `meaning` says which words can't stand together."""

from lab.wiring.plan import Plan, ProjectionPlan, plan

__all__ = ["Plan", "ProjectionPlan", "plan"]
