"""Whether the numbers are right: every shipped scenario through the whole pipeline, many times, against its truth."""
