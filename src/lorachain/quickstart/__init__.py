"""The quickstart: three versions of a real small model, trained and tested by one command."""
