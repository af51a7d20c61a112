"""What builds and runs the container: the generators of cog.yaml and of the pins, manifests, and a build without Docker."""
