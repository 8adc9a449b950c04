"""Validation on `MockSurveys` of a real catalogue: `run_mocks` maps them by every method, `compare` measures."""

from .mock_surveys import Comparison, MockSurveys, compare, read_mocks, run_mocks

__all__ = ["Comparison", "MockSurveys", "compare", "read_mocks", "run_mocks"]
