"""Serve: load a service, see how it answers, and say what it can do; marks of requests are made inside of it."""
