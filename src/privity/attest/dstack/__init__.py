"""dstack, which Phala runs: its event log, replayed to RTMR3, and its wrapper around evidence."""
