"""The public contract: all that a plugin may import of ABAXUS (docs/plugins.md)."""
