"""A client's files: fetched from where they are, decoded once."""
