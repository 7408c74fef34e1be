"""`abaxus events import`: usage events from a file, over the HTTP API; docs/importing.md."""
