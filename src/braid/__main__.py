"""``python -m braid`` is the command ``braid``."""

from braid.cli import main

main()
