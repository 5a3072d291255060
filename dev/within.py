"""`python -m dev.within COMMAND...`: run a command with private servers that are deleted afterwards."""

from __future__ import annotations

import subprocess
import sys

from dev.run import CLONE, environ_for
from dev.stack import StackError, running, scratch_folder


def main(command: list[str]) -> int:
    """Run the command with the environment of the servers, and return its exit code."""
    try:
        with running(scratch_folder(CLONE / ".run"), keep=False) as stack:
            return subprocess.run(command, env=environ_for(stack, 8000), check=False).returncode
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
