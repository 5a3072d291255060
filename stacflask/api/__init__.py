"""The API: the only room that knows HTTP."""
