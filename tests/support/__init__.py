"""What tests and benchmarks share: small checkpoints, sounds, servers, stand-ins."""
