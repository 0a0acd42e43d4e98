"""Advice from measured figures: the smallest portfolio of projections that meets the service levels.

`model` is the question, `portfolio` the answer, `binding` why there is none, `sensitivity` how firm it is. All four
are pure.
"""
