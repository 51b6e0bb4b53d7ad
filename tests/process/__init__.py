"""What a whole server does when it is stopped, killed, or short of something."""
