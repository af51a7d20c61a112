"""Audio files to arrays and back, and signal processing on arrays."""
