"""``python -m smtpcb.run.workers N``: one of them."""

from smtpcb.run.workers._worker import main

main()
