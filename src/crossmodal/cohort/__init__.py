"""Cohorts: which release a folder holds, whether its files are sound, who trains and who tests, and locks."""

from crossmodal.cohort.cases_csv import read_cases

__all__ = ["read_cases"]
