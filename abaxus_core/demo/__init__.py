"""The built-in demo: an airport bills its airlines for January 2013."""
