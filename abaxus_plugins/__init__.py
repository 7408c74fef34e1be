"""The plugins that come with ABAXUS, each written as if it were a stranger's pip package."""
