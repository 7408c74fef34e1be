"""One profile for all property tests: no deadline on a busy machine, failures reproducible."""

from hypothesis import settings

settings.register_profile("suite", deadline=None, print_blob=True)
settings.load_profile("suite")
