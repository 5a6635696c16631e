"""From a plan to training rows, with a teacher behind an OpenAI-compatible API. No torch here."""
