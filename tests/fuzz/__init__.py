"""Sessions that no client would hold: `python -m tests.fuzz` holds as many as wanted."""
