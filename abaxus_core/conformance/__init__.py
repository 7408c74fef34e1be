"""Test classes for authors of plugins; nothing that is shipped imports them.

They need pytest and pytest-asyncio: `pip install abaxus[conformance]`.
"""
