"""The gate before every training: what is looked at, what is said of it, and what stops a run."""
