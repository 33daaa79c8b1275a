"""Evaluation: datasets, BSS Eval 3.0, confidence intervals, oracle masks and plots."""
