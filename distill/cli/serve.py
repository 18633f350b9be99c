"""`distill serve`: the tab in a browser, on a checkpoint of one's own or the built-in one."""

from __future__ import annotations

import argparse
import os
import sys

from distill.errors import OptionError
from distill.hosts.standalone import Standalone
from distill.pocket import CHECKPOINT


def serve(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C; a training that runs then is ended by `Jobs.close`."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        from distill.ui import draft as drafts
        from distill.ui.page import build_page
    except ModuleNotFoundError as error:
        raise OptionError(f"{error.name} is not installed.", "Install it: pip install 'gradio>=3.41.2'.") from error
    from distill.jobs import Jobs

    host = Standalone(
        arguments.checkpoint or CHECKPOINT, vae=arguments.vae, lora_dir=arguments.lora_dir, device=arguments.device
    )
    host.check()
    jobs = Jobs(host)
    drafts.tokenizer()  # now, and not while somebody waits for it
    page, for_launch = build_page(jobs)
    try:
        page.queue()
        page.launch(
            server_name=arguments.host,
            server_port=arguments.port,
            inbrowser=arguments.open,
            prevent_thread_lock=True,
            quiet=True,
            **for_launch,
        )
        print(f"Distill is at http://{arguments.host}:{arguments.port} (Ctrl-C ends it)", flush=True)
        page.block_thread()
    except OSError as error:
        raise OptionError(f"Port {arguments.port} can't be used: {error}.", "Choose another --port.") from error
    finally:
        jobs.close()
    print("\nEnded.", file=sys.stderr)
    return 0
