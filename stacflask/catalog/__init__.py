"""The catalogue: the only room that knows SQL. It knows nothing of people or of HTTP."""
