"""What six other servers were asked on the wire, and what is right."""
