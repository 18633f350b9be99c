"""Where Distill meets the WebUI: its tab, its settings and its routes, and nothing else."""

from pathlib import Path

from modules import script_callbacks, shared

from distill.hosts.detect import detect
from distill.hosts.surroundings import WebUI, add_settings
from distill.jobs import shared_jobs


def make_host():
    """The WebUI as a host, with the settings that hold for the life of the process."""
    host = detect()
    subfolder = Path(shared.opts.data.get("distill_subfolder", "").strip())
    if not subfolder.is_absolute() and ".." not in subfolder.parts:
        host.lora_dir = host.lora_dir / subfolder
    if shared.cmd_opts.distill_work_dir:
        host.work_dir = Path(shared.cmd_opts.distill_work_dir)
    return host


jobs = shared_jobs(make_host)  # those of before, when "Reload UI" runs this file again
around = WebUI(jobs.host.name)


def make_tab():
    """The tab, as `on_ui_tabs` wants it."""
    from distill.ui.tab import build

    return [(build(jobs, around), "Distill", "distill")]


def add_api(_demo, app):
    """The routes, where the person asked for an API."""
    from distill.api import Policy, add_routes

    class Live(Policy):
        """Reads the settings at each request, as the WebUI's own API does."""

        def __getattribute__(self, name):
            setting = SETTINGS.get(name)
            return getattr(shared.opts, setting) if setting else super().__getattribute__(name)

    enabled = shared.cmd_opts.api and not shared.cmd_opts.distill_no_api
    pairs = (pair.split(":", 1) for pair in (shared.cmd_opts.api_auth or "").split(",") if ":" in pair)
    add_routes(app, jobs, Live(enabled=bool(enabled), credentials=dict(pairs)))


SETTINGS = {
    "allow_url_requests": "api_enable_requests",
    "forbid_local_requests": "api_forbid_local_requests",
    "user_agent": "api_useragent",
    "endpoint": "distill_endpoint",
    "endpoint_model": "distill_endpoint_model",
}

script_callbacks.on_ui_settings(add_settings)
script_callbacks.on_after_component(around.component_made)
script_callbacks.on_ui_tabs(make_tab)
script_callbacks.on_app_started(add_api)
