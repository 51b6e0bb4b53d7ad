"""What was said on a connection, as a file that people and programs read."""
