"""What processes tell each other about after a commit, see kernel/notifications.py."""

from typing import Final

CATALOGUE: Final = "catalogue"
"""Forget what you remember of metrics and plans."""
INBOX: Final = "inbox"
"""Events wait to land."""
