"""The billing rules, pure: no I/O, no clock, no randomness, no binary floating point, no async."""
