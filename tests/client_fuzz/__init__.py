"""Sessions of the client with servers that say anything at all, in memory and by a seed."""
