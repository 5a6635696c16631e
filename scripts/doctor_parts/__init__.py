"""The parts of `scripts/doctor.py`.

Standard library only, and nothing newer than Python 3.7's syntax, as in setup_parts: it is run
where set-up failed. The two files `probe_*.py` alone run in the environment, as child processes.
"""
