"""Sample traces, and in `record` the programs they are recorded from."""
