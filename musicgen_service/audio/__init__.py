"""Files to arrays and back, and their loudness."""
