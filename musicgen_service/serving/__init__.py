"""HTTP: Cog's server, its supervisor, and the gateway in front of it."""
