"""The parts of `scripts/setup_env.py`. Standard library only: nothing is installed yet.

They must also parse on Pythons that are too old for the project, so that those get a sentence that
says so in place of a SyntaxError; nothing newer than Python 3.7's syntax is used here.
"""
