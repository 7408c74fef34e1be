"""Billing vectors: cases of other engines, mapped onto our domain (docs/vectors.md)."""
