"""The `distill` command. Exit codes: 0 done, 1 an error, 2 wrong usage, 3 stopped early but kept, 130 interrupted."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from distill.cli.flags import parser
from distill.cli.memory import keep_freed
from distill.errors import DistillError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = parser().parse_args(argv)
    if argv is None and arguments.command != "serve":  # else someone else's process, or one that stays
        keep_freed()
    try:
        from distill.cli import commands

        code: int = getattr(commands, arguments.command)(arguments)
        return code
    except DistillError as error:
        return _fail(str(error), arguments.debug)
    except KeyboardInterrupt:
        return _fail("Interrupted; what was saved before is kept.", arguments.debug, 130)
    except BrokenPipeError:  # `distill options | head`
        sys.stderr.close()
        return 0
    except Exception as error:  # noqa: BLE001 - the last line of defence of a command line
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        return _fail(f"Unexpected error: {what}. Run again with --debug to see where.", arguments.debug)


def _fail(text: str, debug: bool, code: int = 1) -> int:
    if debug and sys.exc_info()[0] is not None:
        import traceback

        traceback.print_exc()
    print(f"distill: {' '.join(text.split())}", file=sys.stderr)
    return code
