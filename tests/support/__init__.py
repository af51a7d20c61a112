"""Support for tests and benchmarks: small checkpoints, sounds, servers, fakes."""
