"""HTTP: Cog's server, its supervisor, and the reverse proxy in front of it."""
