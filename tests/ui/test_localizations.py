"""The translations: exactly the texts that a person reads in the tab, on the settings page and from the script.

A WebUI replaces a text that is, trimmed, a key of localizations/<language>.json. So sentences with a name or number in
them can't be translated, and values of options (cosine, square, fp16) stay as the command line and the API have them.
"""

import ast
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

from distill import goals
from distill.captions.words import GROUPS
from distill.events import Measured
from distill.hosts import surroundings
from distill.hosts.standalone import Standalone
from distill.jobs import Jobs
from distill.options import each_option
from distill.pocket import CHECKPOINT
from distill.presets import BUILT_IN
from distill.residue import BY_CHECKPOINT, DRAWS, LOOKS_AT, Residue
from distill.training.meters import Reading
from distill.training.picker import COSTS
from distill.ui import html, live, loss_line, meters_view
from distill.ui.looks import LOOKS
from distill.ui.prompt import WORDS
from distill.ui.residue_panel import found
from distill.ui.tab import build
from tests.ui.test_tab import Everything

ROOT = Path(__file__).parents[2]
LANGUAGES = sorted(path.stem for path in (ROOT / "localizations").glob("*.json"))
STAND_ALONE = ("page.py", "txt2img.py")
"""A page without a WebUI, and so without translations."""

SAME = {
    "de_DE": {"Alpha", "Distill", "Loss", "Name", "Prompt", "Sampling", "Seed", "Tags", "Training"},
    "ja_JP": {"Alpha", "Distill"},
    "zh_CN": {"Alpha", "Distill"},
}
"""Words that are the same in English."""


class Reader(HTMLParser):
    """The texts and titles of some HTML; none with a digit, for that was put in."""

    def __init__(self, markup):
        super().__init__()
        self.found = set()
        self.feed(markup)

    def handle_starttag(self, tag, attrs):
        self.handle_data(dict(attrs).get("title") or "")

    def handle_data(self, data):
        if data.strip() and not re.search(r"\d", data):
            self.found.add(data.strip())


def of_options():
    return {f.metadata[key] for _, f, _ in each_option() for key in ("label", "help")}


def of_goals():
    of_presets = {preset.help for preset in BUILT_IN}
    return {text for goal in goals.GOALS for text in (goal.label, goal.help)} | of_presets | set(LOOKS.values())


def of_tab(jobs):
    found = set()
    for block in build(jobs, Everything()).blocks.values():
        if "distill-hidden" not in (getattr(block, "elem_classes", None) or []):
            found |= of_component(block)
    return {text for text in found if isinstance(text, str) and text}


def of_component(block):
    if isinstance(block, gr.HTML):
        return Reader(block.value or "").found
    if isinstance(block, gr.Button):
        return {block.value}
    found = {getattr(block, name, None) for name in ("label", "info", "placeholder")}
    if isinstance(block, gr.Radio):
        found |= {label for label, value in block.choices if label != value or block.elem_id == "distill_goal"}
    return found


def of_parts():
    """What the tab shows later: around a checkpoint's name, without a picture, beside the loss."""
    made = (
        html.checkpoint("1", ""),
        html.described("", "1"),
        html.strip([("1", ["1", *COSTS], None)], "1"),
        loss_line.svg([1.0], 1),
        *(found(Residue((), (), missing, (BY_CHECKPOINT,))) for missing in ((), ("1",))),
        *(meters_view.view([Measured(1, 1, Reading(0, 0, 0, 1), verdict)]) for verdict in meters_view.VERDICTS),
    )
    return set().union(*(Reader(part).found for part in made), live.ENDINGS.values(), (DRAWS, LOOKS_AT))


def of_groups():
    """Before the chips of a group."""
    return {group.capitalize() for group in GROUPS if group != "other"}


def whole(node):
    """The sentences that an expression may be, without those that are put together."""
    if isinstance(node, ast.Constant):
        return {node.value} if isinstance(node.value, str) and node.value[:1].isupper() else set()
    if isinstance(node, ast.IfExp):
        return whole(node.body) | whole(node.orelse)
    return whole(node.values[-1]) if isinstance(node, ast.BoolOp) else set()


def called(node):
    return getattr(node.func, "id", None) or getattr(node.func, "attr", "")


def nodes(folder, kind):
    for path in sorted((ROOT / "distill" / folder).glob("*.py")):
        if path.name not in STAND_ALONE:
            yield from (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, kind))


def of_problems():
    """What goes wrong in the tab itself."""
    calls = [node for node in nodes("ui", ast.Call) if called(node) == "problem" or called(node).endswith("Error")]
    return set().union(*(whole(argument) for call in calls for argument in call.args))


def of_status():
    """What goes on now, as the jobs and the tab say it."""
    said = [node.value for node in nodes("jobs", ast.keyword) if node.arg == "text"]
    for node in nodes("jobs", ast.Assign):
        said += [node.value for target in node.targets if getattr(target, "id", "") in ("text", "said")]
    said += [node.args[1] for node in nodes("jobs", ast.Call) if called(node) == "_set"]
    said += [node.args[2] for node in nodes("jobs", ast.Call) if called(node) == "_end" and len(node.args) > 2]
    said += [node.args[0] for node in nodes("jobs", ast.Call) if called(node) == "cancel" and node.args]
    said += [node.args[0] for node in nodes("ui", ast.Call) if called(node) == "status"]
    return set().union(*map(whole, said))


def of_settings():
    found = {surroundings.SECTION[1], surroundings.HINT}

    class OptionInfo:
        def __init__(self, default, label, *widget, section):
            found.add(label)

        def info(self, text):
            found.add(f"({text})")  # so the WebUI shows it

        def needs_reload_ui(self):
            pass

    opts = SimpleNamespace(add_option=lambda name, option: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surroundings, "_shared", lambda: SimpleNamespace(OptionInfo=OptionInfo, opts=opts))
        surroundings.add_settings()
    return found


def of_script():
    script = "".join(path.read_text("utf-8") for path in sorted((ROOT / "javascript").glob("*.js")))
    found = set(re.findall(r'\b(?:say|openTab)\("([^"]+)"', script))
    for name in re.findall(r"\bsay\((\w+)[,)]", script):
        found |= set(re.findall(rf'\bconst {name} = "([^"]+)"', script))
    return found


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    jobs = Jobs(Standalone(CHECKPOINT, lora_dir=tmp_path_factory.mktemp("lora"), device="cpu"))
    try:
        tab = of_tab(jobs)
    finally:
        jobs.close()
    return tab.union(
        of_options(), of_goals(), of_parts(), of_problems(), of_status(), of_settings(), of_script(), of_groups()
    )


@pytest.fixture(params=LANGUAGES)
def language(request):
    return request.param


@pytest.fixture
def table(language):
    def once(pairs):
        keys = [key for key, _ in pairs]
        assert len(keys) == len(set(keys)), "a text is translated twice"
        return dict(pairs)

    return json.loads((ROOT / "localizations" / f"{language}.json").read_text("utf-8"), object_pairs_hook=once)


def test_the_languages():
    assert sorted(SAME) == LANGUAGES


@pytest.mark.parametrize(
    "text",
    [
        "Rank",
        "Size of the LoRA (network_dim).",
        "Replicate",
        "Too high: every prompt gives the same picture.",
        "Address of a picture (https://...)",
        "replicates",
        "no picture",
        "There is no picture yet.",
        "Waits for the job before it.",
        "(from the next start on)",
        "Remove {tag}",
        "Accessories",
        "lock it into the trigger",
        "Captions by",
        "Discard this training? Its files are deleted, epochs included.",
    ],
)
def test_every_source_is_read(texts, text):
    assert text in texts


def test_every_text_is_translated_and_nothing_else(texts, table):
    missing, superfluous = sorted(texts - set(table)), sorted(set(table) - texts)
    assert (missing, superfluous) == ([], [])


def test_translations_say_something(table, language):
    assert [text for text, said in table.items() if not said.strip()] == []
    assert {text for text, said in table.items() if said.strip() == text} == SAME[language]


def test_placeholders_are_kept(table):
    def names(text):
        return sorted(re.findall(r"\{\w+\}", text))

    assert [text for text, said in table.items() if names(text) != names(said)] == []


def test_a_translation_is_not_translated_again(table):
    """The WebUI looks at a text anew whenever its element is."""
    assert [said for said in table.values() if table.get(said.strip(), said) != said] == []


def test_a_text_beside_a_number_keeps_its_space(table):
    assert [said for said in (table[word] for _, word in WORDS) if not said.startswith(" ")] == []
    assert table["Loss"].endswith(" ")
