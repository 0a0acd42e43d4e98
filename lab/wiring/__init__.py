"""Turn a scenario into objects (`plan`), and refuse combinations that make no sense (`meaning`)."""

from lab.wiring.plan import Plan, ProjectionPlan, plan

__all__ = ["Plan", "ProjectionPlan", "plan"]
