"""Priors and targets with known answers, for tests and benchmarks."""
