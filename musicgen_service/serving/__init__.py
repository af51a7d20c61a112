"""HTTP: Cog's server, what starts and watches it, and the proxy before it."""
