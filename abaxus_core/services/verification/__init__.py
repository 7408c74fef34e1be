"""Verification: what was issued, derived again from raw events, and the invariants of the database.

run.py is the door; each other module looks at one kind of thing and yields findings, a bounded
number of rows in memory. Nothing here writes. Product contract, end of section 9.
"""
