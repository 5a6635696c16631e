"""The parts of `scripts/launch.py`. Standard library only, in syntax that old Pythons can parse, as
in setup_parts: they run before anything is installed.
"""
