"""Container build and deployment: generators of cog.yaml and pinned requirements, manifests, a build without Docker."""
