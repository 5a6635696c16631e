"""Evaluation: ask versions the same questions, score the answers, compare."""
