"""What time it is, for the core: the contract's clock, which plugins read as well."""

from abaxus_core.plugin.clock import Clock, system_clock

__all__ = ["Clock", "system_clock"]
