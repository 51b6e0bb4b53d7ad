"""What the users of older systems rely on, item by item, and the traps that are not there."""
