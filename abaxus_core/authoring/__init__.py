"""What an author of plugins needs of the command line: the group `plugins`, and a new plugin."""
