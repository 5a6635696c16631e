"""All stages in one command: where their files are, how they are run, and how far they are."""
