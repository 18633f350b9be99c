"""The real command on real files: what a person and a machine see, and how bad input is answered."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from distill.cli import main
from tests.models import ldm_file, tiny

QUICK = ["--repeats", "2", "--epochs", "2", "--network-dim", "4", "--sample-steps", "2", "--resolution", "64"]
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    return ldm_file.write_checkpoint(path, tiny.small_unet(), tiny.vae(), tiny.text_encoder())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.radial_gradient("L").convert("RGB").save("picture.png")
    return tmp_path


def train(checkpoint, *more):
    return main(["train", "picture.png", "--checkpoint", str(checkpoint), "--trigger", "fip zor", *QUICK, *more])


def test_train_then_generate_then_info(checkpoint, folder, capsys):
    assert train(checkpoint, "--captions", "woman, red hair") == 0
    out, err = capsys.readouterr()
    assert "100%" in err  # the bar goes on after the first epoch's meters and picture
    assert "captions  fip zor woman, red hair" in out
    assert "prompt    fip zor woman, red hair, <lora:fip_zor:0.6>" in out
    assert Path("models/Lora/fip_zor.safetensors").is_file()
    prompt = "fip zor woman, red hair <lora:fip_zor:1>"
    size = ["--width", "64", "--height", "64", "--sample-steps", "2", "--count", "2"]
    assert main(["generate", prompt, "--checkpoint", str(checkpoint), "--out", "made/it.png", *size]) == 0
    assert Image.open("made/it-01.png").size == (64, 64)
    assert Path("made/it-02.png").is_file()
    capsys.readouterr()
    assert main(["info", "models/Lora/fip_zor.safetensors"]) == 0
    out = capsys.readouterr().out
    assert "a LoRA" in out
    assert "ss_output_name" in out


def test_captions_come_from_the_text_file_beside_the_picture(checkpoint, folder, capsys):
    Path("picture.txt").write_text("man, blue eyes\n", "utf-8")
    assert train(checkpoint, "--no-preview", "--epochs", "1") == 0
    assert "captions  fip zor man, blue eyes" in capsys.readouterr().out


@pytest.mark.slow
def test_json_is_one_object_a_line(checkpoint, folder, capsys):
    assert train(checkpoint, "--captions", "woman", "--no-preview", "--json") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [e["event"] for e in events].count("step") == 2
    assert events[-1]["event"] == "done"
    assert Path(events[-1]["path"]).is_file()


@pytest.mark.slow
def test_several_pictures_with_views_of_the_first(checkpoint, folder, capsys):
    Image.radial_gradient("L").rotate(90).convert("RGB").save("other.png")
    Path("picture.txt").write_text("woman, red hair, full body, black boots", "utf-8")
    Path("other.txt").write_text("woman, blue dress", "utf-8")
    Image.radial_gradient("L").save("mask.png")
    given = [
        "--checkpoint",
        str(checkpoint),
        "--trigger",
        "fip zor",
        *QUICK,
        "--view",
        "face:0.2,0,0.8,0.5",
        "--view",
        "left hand:0,0.5,0.5,1:hand:3",
        "--json",
    ]
    given += ["--picture-repeats", "2,1", "--mask-file", "mask.png", "--epochs", "1"]
    assert main(["train", "picture.png", "other.png", *given]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    captioned = next(e for e in events if e["event"] == "captioned")
    assert captioned["of_cuts"] == [
        ["fip zor woman", "red hair", "full body", "black boots"],
        ["fip zor woman", "close-up", "face", "red hair"],
        ["fip zor woman", "hand"],
        ["fip zor woman", "blue dress"],
    ]
    prepared = next(e for e in events if e["event"] == "prepared")
    assert [cut["repeats"] for cut in prepared["cuts"]] == [2, 1, 3, 1]


def test_views_shows_the_cuts(folder, capsys):
    assert main(["views", "picture.png", "--view-min-px", "100", "--out", "cuts", "--views", "face, bangs"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["whole", "0,0,1,1", "512", "x", "512", "px,", "1", "x"]
    assert out[1].split()[0] == "face"
    assert "View bangs is left out: " in " ".join(out)
    assert sorted(path.name for path in Path("cuts").iterdir()) == ["picture-00-whole.png", "picture-01-face.png"]
    assert main(["views", "picture.png", "--json", "--view", "detail:0,0,0.5,0.5"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (rows[1]["view"], rows[1]["box"], rows[1]["words"]) == ("detail", [0, 0, 0.5, 0.5], ["close-up"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["picture.png", "--view", "face:0,0,1"], "four numbers"),
        (["picture.png", "--view", "face:0,0,0.5,0.5:a:b"], "can't be read"),
        (["picture.png", "--view", "face:0.5,0,0.5,1"], "shares from 0 to 1"),
        (["picture.png", "--views", "feet"], "no view 'feet'"),
        (["picture.png", "--picture-repeats", "2,1"], "for 1 picture"),
        (["picture.png", "--upscaler", "5x"], "no upscaler '5x'"),
        (["picture.png", "--upscaler", "5x.pth"], "no upscaler file"),
        (["picture.png", "missing.png"], "missing.png"),
        (["missing.png"], "missing.png"),
        (["empty.png"], "empty"),
        (["text.png"], "not a picture"),
        (["."], "folder"),
        (["picture.png", "--name", "../evil"], "name"),
        (["picture.png", "--name", "CON"], "name"),
        (["picture.png", "--network-dim", "0"], "Rank"),
        (["picture.png", "--lora-dir", "picture.png"], "folder"),
        (["picture.png", "--checkpoint", "old.ckpt"], "pickle"),
        (["picture.png", "--checkpoint", "missing.safetensors"], "missing.safetensors"),
        (["picture.png", "--captioner", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(checkpoint, folder, capsys, arguments, message):
    Path("empty.png").write_bytes(b"")
    Path("text.png").write_text("hello")
    Path("old.ckpt").write_bytes(b"PK\x03\x04")
    before = sorted(folder.rglob("*"))
    captions = [] if "--captioner" in arguments else ["--captions", "woman"]
    code = main(["train", "--checkpoint", str(checkpoint), *captions, *QUICK, *arguments])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 1
    assert error.startswith("distill: ")
    assert message in error
    assert [path for path in sorted(folder.rglob("*")) if path.is_file()] == [p for p in before if p.is_file()]


def test_edited_captions_are_not_overwritten(folder, capsys):
    Path("picture.txt").write_text("my own words")
    assert main(["caption", "picture.png", "--captioner", "none", "--write"]) == 1
    assert "is there already" in capsys.readouterr().err
    assert Path("picture.txt").read_text() == "my own words"


def test_options_lists_all_and_wrong_usage_is_2(capsys):
    assert main(["options", "--markdown"]) == 0
    assert "`--network-dim` | 16" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        main(["train"])
    assert caught.value.code == 2


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
@pytest.mark.slow
def test_ctrl_c_keeps_what_is_trained(checkpoint, folder):
    command = [sys.executable, "-m", "distill", "train", "picture.png", "--checkpoint", str(checkpoint), "--json"]
    command += ["--captions", "woman", *QUICK, "--repeats", "1000"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        for line in process.stdout:
            if json.loads(line).get("index", 0) >= 3:  # the rate begins at 0
                break
        process.send_signal(signal.SIGINT)
        last = [json.loads(line) for line in process.stdout][-1]
        process.wait(60)
    assert process.returncode == 130
    assert "Stopped at step" in last["stopped"]
    assert Path(last["path"]).is_file()


def test_import_loads_no_torch():
    code = "import sys, distill, distill.options, distill.errors, distill.host; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert ran.stdout.strip() == "False"


def test_help_loads_no_torch():
    code = "import sys; from distill.cli.flags import parser; parser().format_help(); print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert ran.stdout.strip() == "False"


GROWS = """
import resource, sys
from distill.cli import main
sys.argv = ["distill", "options"]
main({arguments})
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    data = [bytearray(50_000_000) for _ in range(4)]
    del data
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told, and torch on Linux is there for no other")
@pytest.mark.parametrize(("arguments", "is_kept"), [("", True), ("sys.argv[1:]", False)], ids=["own", "someone else's"])
def test_only_a_process_of_its_own_keeps_what_it_frees(arguments, is_kept):
    environment = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "GLIBC_TUNABLES")}
    code = [sys.executable, "-c", GROWS.format(arguments=arguments)]
    ran = subprocess.run(code, capture_output=True, text=True, cwd=ROOT, env=environment, check=True)
    first, again = (int(line) for line in ran.stdout.split()[-2:])  # pages that the system had to give
    assert (again < first / 2) is is_kept
