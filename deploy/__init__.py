"""What builds and runs the container: generators of cog.yaml and of the pins, manifests, a build without Docker."""
