"""The command line's grammar; the flags of all settings come from `options/`."""

from __future__ import annotations

import argparse
from dataclasses import Field
from pathlib import Path
from typing import Any

from distill import __version__
from distill.options import (
    GROUPS,
    CaptionOptions,
    Checked,
    Options,
    PictureOptions,
    SampleOptions,
    each_option,
)


def parser() -> argparse.ArgumentParser:
    """The whole grammar; `arguments.command` names a function of `commands`."""
    top = argparse.ArgumentParser(prog="distill", description="One picture to a single-image LoRA.")
    top.add_argument("--version", action="version", version=f"distill {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = _command(commands, "demo", "the whole way on the built-in pocket checkpoint, ending in one picture sheet")
    demo.add_argument("--picture", type=Path, help="another picture than the bundled portrait")
    demo.add_argument("--out", type=Path, default=Path("distill-demo"), help="folder for the LoRA and the sheet")
    _model_flags(demo, lora_dir=False)

    caption = _command(commands, "caption", "propose captions for a picture")
    caption.add_argument("picture", type=Path, nargs="+")
    caption.add_argument("--write", action="store_true", help="write them to PICTURE's .txt, for you to edit")
    caption.add_argument("--groups", action="store_true", help="one line for each group: hair, eyes, clothing ...")
    check = "measure how far the checkpoint sees each caption in the picture"
    caption.add_argument("--check", action="store_true", help=check)
    caption.add_argument("--checkpoint", type=Path, help="what it is for: decides what --captioner auto is")
    _lora_dir_flag(caption)
    asked = {"captioner", "endpoint", "endpoint_model", "identity"}
    _option_flags(caption, (PictureOptions, CaptionOptions), only=_names(PictureOptions) | asked)

    _captioners(commands)

    _train(commands)
    _views(commands)
    _presets(commands)

    generate = _command(commands, "generate", "make a picture from a prompt, <lora:name:0.6> included")
    generate.add_argument("prompt")
    generate.add_argument("--out", type=Path, default=Path("distill-out.png"), help="PNG to write")
    _model_flags(generate)
    _option_flags(generate, (CaptionOptions, SampleOptions), only={"clip_skip"} | _names(SampleOptions))

    _residue(commands)

    serve = _command(commands, "serve", "show the Distill tab in a browser, without any WebUI")
    serve.add_argument("--port", type=int, default=7870)
    serve.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other computers in, without a password")
    serve.add_argument("--open", action="store_true", help="open the browser")
    _model_flags(serve)

    info = _command(commands, "info", "say what a LoRA file or a checkpoint is")
    info.add_argument("file", type=Path)

    options = _command(commands, "options", "list every option")
    options.add_argument("--markdown", action="store_true", help="as the README's table")
    return top


def options_from(arguments: argparse.Namespace) -> Options:
    """The options that were given, defaults for the rest. Raises OptionError."""
    return Options.from_flat(given_options(arguments))


def given_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that were given, by their names."""
    known = {f.name for _, f, _ in each_option()}
    return {k: v for k, v in vars(arguments).items() if k in known and v is not None}


def _command(commands: Any, name: str, help: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help.capitalize() + ".")
    command.add_argument("--json", action="store_true", help="one JSON object a line, for machines")
    command.add_argument("--debug", action="store_true", help="show where an error came from")
    return command


def _model_flags(command: argparse.ArgumentParser, lora_dir: bool = True) -> None:
    command.add_argument("--checkpoint", type=Path, help="SD1.5 .safetensors or diffusers folder; else the built-in")
    command.add_argument("--vae", type=Path, help="another VAE for it")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    if lora_dir:
        _lora_dir_flag(command)


def _train(commands: Any) -> None:
    train = _command(commands, "train", "train a LoRA on one picture, or on several of one subject")
    train.add_argument("picture", type=Path, nargs="+", help="the trigger and --captions are the first one's")
    train.add_argument("--captions", help="comma list of tags; else PICTURE's .txt, else the captioner is asked")
    _plan_flags(train)
    repeats = "how often each picture comes, as 2,1; 0 is as often as its views together"
    resume = "go on with this training after its last whole epoch, where it was cut off"
    train.add_argument("--resume", action="store_true", help=resume)
    train.add_argument("--picture-repeats", default="", metavar="N,N", help=repeats)
    _model_flags(train)
    _preset_flag(train)
    _option_flags(train, GROUPS)


def _views(commands: Any) -> None:
    views = _command(commands, "views", "show the views of a picture, and write their cuts")
    views.add_argument("picture", type=Path)
    views.add_argument("--out", type=Path, help="folder for the cuts as PNG files")
    _plan_flags(views)
    _option_flags(views, (PictureOptions,))


def _residue(commands: Any) -> None:
    about = "say what is in a LoRA though no caption names it, drawn without captions and looked at"
    residue = _command(commands, "residue", about)
    residue.add_argument("name", help="of a LoRA that Distill made, or of one of its epochs")
    residue.add_argument("--picture", type=Path, help="what it was trained on; else the one beside it")
    residue.add_argument("--out", type=Path, help="folder for the pictures that are drawn")
    _model_flags(residue)
    asked = {"captioner", "endpoint", "endpoint_model", "clip_skip"}
    _option_flags(residue, (PictureOptions, CaptionOptions), only=_names(PictureOptions) | asked)


def _plan_flags(command: argparse.ArgumentParser) -> None:
    form = "NAME:LEFT,UPPER,RIGHT,LOWER[:TAGS][:REPEATS]"
    view = "a view of the first picture in place of those that --views proposes; edges from 0 to 1; can be repeated"
    command.add_argument("--view", action="append", default=[], metavar=form, help=view)
    command.add_argument("--mask-file", type=Path, metavar="FILE", help="a mask of the first picture: white counts")


def _captioners(commands: Any) -> None:
    captioners = _command(commands, "captioners", "list the captioners, fetch or remove one")
    actions = ("list", "fetch", "sidecar", "remove")
    captioners.add_argument("action", nargs="?", default="list", choices=actions, help="sidecar: its packages")
    captioners.add_argument("name", nargs="?", default="")
    captioners.add_argument("--yes", action="store_true", help="don't ask before fetching")
    captioners.add_argument("--checkpoint", type=Path, help="what they are for")
    _lora_dir_flag(captioners)
    _option_flags(captioners, (CaptionOptions,), only={"endpoint"})


def _presets(commands: Any) -> None:
    presets = _command(commands, "presets", "list recipes, or save, delete, import, export one")
    actions = ("list", "show", "save", "delete", "import", "export")
    presets.add_argument("action", nargs="?", default="list", choices=actions)
    presets.add_argument("which", metavar="NAME", nargs="?", default="", help="its name; for import its file")
    presets.add_argument("--as", dest="as_name", default="", metavar="NAME", help="for import: the name to give it")
    presets.add_argument("--out", type=Path, help="for export: the file to write, else NAME.json")
    presets.add_argument("--kohya", action="store_true", help="for export: as kohya_ss' LoRA page opens it")
    presets.add_argument("--replace", action="store_true", help="write over what has that name")
    _lora_dir_flag(presets)
    _preset_flag(presets)
    _option_flags(presets, GROUPS)


def _preset_flag(command: argparse.ArgumentParser) -> None:
    command.add_argument("--preset", default="", metavar="NAME", help="a recipe to begin with; flags change it")


def _lora_dir_flag(command: argparse.ArgumentParser) -> None:
    folder, help = Path("models/Lora"), "where LoRA files live; fetched captioners are in its folder .distill"
    command.add_argument("--lora-dir", type=Path, default=folder, help=help)


def _names(group: type[Checked]) -> set[str]:
    return {f.name for g, f, _ in each_option() if g is group}


def _option_flags(
    command: argparse.ArgumentParser, groups: tuple[type[Checked], ...], only: set[str] | None = None
) -> None:
    sections = {group: command.add_argument_group(group.title.lower()) for group in groups}
    for group, f, kind in each_option():
        if group in groups and (only is None or f.name in only):
            _add(sections[group], f, kind)


def _add(section: Any, f: Field[Any], kind: type) -> None:
    flag = f"--{f.name.replace('_', '-')}"
    help = f"{f.metadata['help']} [{f.default!s}]".replace("%", "%%")
    if kind is bool:
        section.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=help)
    else:
        section.add_argument(
            flag, type=kind, default=None, choices=f.metadata["choices"], metavar=_metavar(f, kind), help=help
        )


def _metavar(f: Field[Any], kind: type) -> str | None:
    return None if f.metadata["choices"] else {int: "N", float: "X", str: "TEXT"}[kind]
