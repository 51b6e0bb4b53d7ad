"""What tests of handlers need: `play` a written dialogue."""

from smtpcb.testing._play import DialogueDiffers, Played, play

__all__ = ["DialogueDiffers", "Played", "play"]
