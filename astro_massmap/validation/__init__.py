"""
Validation: `run_mocks` maps `MockSurveys` by every method, `compare` measures the maps against the truths.

`write_benchmark` writes mock surveys for any code, `score` compares its maps.
"""

from .benchmark import Benchmark, add_maps, write_benchmark
from .mock_surveys import Comparison, MockSurveys, compare, read_mocks, run_mocks
from .scores import Scores, score

__all__ = [
    "Benchmark",
    "Comparison",
    "MockSurveys",
    "Scores",
    "add_maps",
    "compare",
    "read_mocks",
    "run_mocks",
    "score",
    "write_benchmark",
]
