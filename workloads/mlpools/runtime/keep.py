"""Keep standard input at a URL: ``python -m mlpools.runtime.keep URL``.

The supervisor uses the standard library only, so it has this short-lived program write what belongs into an
object store.
"""

from __future__ import annotations

import sys

from mlpools.errors import JobError
from mlpools.storage import locate


def main(arguments: list[str]) -> int:
    """Write all of standard input; what fails is one line on standard error."""
    try:
        locate(arguments[0]).write(sys.stdin.buffer.read())
    except JobError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the supervisor repeats it
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
