"""Floor 6: the commands, one file each.

Only this floor writes to a terminal and ends the process. A command's file imports what it needs
inside its function, so that `privity --help` and shell completion answer at once.

Public names: `main`.
"""

from privity.cli.app import main

__all__ = ["main"]
