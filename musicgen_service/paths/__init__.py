"""One generation path per file."""
