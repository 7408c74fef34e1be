"""Entitlements: what customers are granted now, and how much of it is used.

Nothing here refuses usage: the caller enforces.
"""
