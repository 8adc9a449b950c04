"""Validation: `run_mocks` maps `MockSurveys` by every method, `compare` measures the maps against the truths."""

from .mock_surveys import Comparison, MockSurveys, compare, read_mocks, run_mocks

__all__ = ["Comparison", "MockSurveys", "compare", "read_mocks", "run_mocks"]
