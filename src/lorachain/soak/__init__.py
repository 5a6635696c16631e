"""Runs that are killed on purpose: starting the project's scripts many times, cheaply."""
