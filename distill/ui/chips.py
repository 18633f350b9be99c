"""What javascript/distill_chips.js has to know of captions, as plain values; the textbox holds the captions."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from distill.captions import tags as tag_text
from distill.captions import words
from distill.captions.difference import difference
from distill.image.views import WORDS
from distill.options import Options
from distill.ui.draft import Count, Draft

VIEW_WORDS = tuple(dict.fromkeys(word for said in WORDS.values() for word in said))
"""What the captions of views say of them."""


def told(captions: str, proposal: str, draft: Draft | None, count: Count, options: Options) -> dict[str, Any]:
    """Of all tags there are; `difference` is None without a proposal."""
    written, proposed = tag_text.parse(captions), tag_text.parse(proposal)
    compared = difference(written, proposed) if proposed else None
    return {
        "first": count.tags[0] if draft and count.tags else "",
        "cut": count.cut,
        "locked": options.caption.identity == "locked",
        "views": options.picture.views,
        "view_min_px": options.picture.view_min_px,
        "picture": draft.mark if draft else "",
        "tags": facts((*written, *proposed, *VIEW_WORDS)),
        "difference": compared and {"new": compared.new, "same": compared.same, "missing": compared.missing},
    }


def facts(tags: Iterable[str]) -> list[dict[str, Any]]:
    """Of each tag: its group, whether that makes a person recognisable, what the chip has to warn of."""
    return [_fact(tag) for tag in dict.fromkeys(tags)]


def _fact(tag: str) -> dict[str, Any]:
    group = tag_text.group_of(tag)
    return {
        "tag": tag,
        "group": group,
        "identity": group in words.IDENTITY_GROUPS,
        "several": group == "subject" and tag_text.subject_of([tag]).several,
        "in_first": not tag_text.without_class([tag]),  # "trigger class" says it already
    }


QUALITIES = """black, white, red, blue, green, yellow, purple, pink, brown, gray, orange, blonde, silver, golden, beige,
    long, short, curly, straight, wavy, large, small, light, dark, striped, plaid, floral, leather, wooden, metal"""
"""What tags begin with; of no group."""


@lru_cache(maxsize=1)
def vocabulary() -> dict[str, list[str]]:
    """Words to complete a tag with, by group, the groups in the order of a caption."""
    listed = {group: " ".join(words.WORDS.get(group, QUALITIES).split()) for group in words.GROUPS}
    return {group: [word for word in text.split(", ") if word] for group, text in listed.items()}
