"""Other people's servers, to which our client sends: what it says of each is what they did."""
