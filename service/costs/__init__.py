"""Costs: the executions of cases and the time that they took, rolled up per day, and later per month."""
