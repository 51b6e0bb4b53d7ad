"""The client's side of the dialogue."""
