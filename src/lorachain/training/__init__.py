"""Training one stage: data to tokens, tokens to batches, batches to a version."""
