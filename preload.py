"""Distill's flags for the WebUI's command line."""

from argparse import ArgumentParser


def preload(parser: ArgumentParser) -> None:
    """Called by the WebUI before it reads its arguments."""
    parser.add_argument(
        "--distill-work-dir", type=str, default=None, help="where Distill keeps the journals of its jobs"
    )
    parser.add_argument(
        "--distill-no-api", action="store_true", help="no /distill/v1 routes, even where --api is given"
    )
