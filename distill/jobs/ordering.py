"""What can be told of an order before anything is begun."""

from __future__ import annotations

from distill.captions.backends import resolved
from distill.errors import CaptionError
from distill.host import Host
from distill.image.loading import load
from distill.image.views import checked
from distill.jobs.job import Order
from distill.pipeline import check, desk_of


def check_order(order: Order, host: Host, checkpoint: str) -> None:
    """Raises DistillError for options, pictures, views or captions that would end the job later."""
    check(order.options, host.upscalers())
    checked(order.plan.views or (), load(order.picture).image)
    for shot in order.plan.more:
        checked(shot.plan.views or (), load(shot.source).image)
    undescribed = [n for n, shot in enumerate(order.plan.more, start=2) if shot.tags is None]
    if undescribed and not resolved(order.options.caption, desk_of(host, checkpoint)):
        raise CaptionError(
            f"Picture {undescribed[0]} has no captions and there is no captioner.",
            "Write its captions, or choose a captioner; nothing was started.",
        )
