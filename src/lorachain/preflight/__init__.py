"""The look before the training: what is wrong with rows, tokens, schedule and machine, found first.

Each part takes plain inputs and yields findings (`finding.Finding`); `training.gate` collects what
they need from a stage, prints the screen, and stops where an error stands that was not allowed.
"""
