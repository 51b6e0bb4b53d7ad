"""Real balancers before a real server."""
