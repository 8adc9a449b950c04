"""
Validation: all methods on mock surveys with the footprint, noise and density of a real catalogue.

`MockSurveys` makes the mocks, `run_mocks` maps them by every method, and `compare` compares the maps with the truths.
"""

from .mock_surveys import Comparison, MockSurveys, compare, read_mocks, run_mocks

__all__ = ["Comparison", "MockSurveys", "compare", "read_mocks", "run_mocks"]
