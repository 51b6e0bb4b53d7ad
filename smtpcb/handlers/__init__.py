"""Ready-made handlers; they are handlers like your own."""
