"""Entry point of the `hvd-train` command. It handles the warning signals of batch systems before anything slow is imported."""

from __future__ import annotations

import sys
from collections.abc import Sequence

# These go on after a warning until something is saved. They ask `early_end` for it. The others end with a message.
SAVING_VERBS = ("train", "ensemble", "search", "supervise")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns or ends with the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    from hvd_train.processes import Stopped, early_end, stop_on

    try:
        if argv[:1] and argv[0] in SAVING_VERBS:
            early_end.listen()
        else:
            stop_on()
        from hvd_train.cli.verbs import main

        return main(argv)
    except Stopped as stopped:  # while the verb was imported
        sys.stderr.write(f"stopped by {stopped}\n")
        return stopped.exit_code


if __name__ == "__main__":
    sys.exit(main())
