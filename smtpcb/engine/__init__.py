"""The dialogue of SMTP as values and tables, without I/O; imports the standard library only."""
