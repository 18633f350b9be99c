"""The list of our LoRAs, and the trash."""

import json
import shutil

import pytest
from PIL import Image

from distill.errors import OutputError
from distill.options import Options
from distill.output.library import delete, header, listed
from distill.pipeline import distill
from tests.models.host import TinyHost

QUICK = {"repeats": 1, "epochs": 3, "network_dim": 4, "sample_steps": 1, "sample_every": 0, "trigger": "fip zor"}


@pytest.fixture
def host(tmp_path):
    return TinyHost(tmp_path / "Lora")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What two trainings left, of which the second took the next name."""
    host = TinyHost(tmp_path_factory.mktemp("made") / "Lora")
    picture = Image.radial_gradient("L").convert("RGB")
    for changes in ({"preferred_weight": 0.8}, {}):
        list(distill(host, picture, ["woman", "red hair"], Options.from_flat({**QUICK, **changes})))
    return host.lora_dir


@pytest.fixture
def trained(host, made):
    """The first one's LoRA, in a folder of its own."""
    host.lora_dir.mkdir()
    for path in made.glob("fip_zor*"):
        if not path.name.startswith("fip_zor-2"):
            shutil.copy2(path, host.lora_dir)
    return host.lora_dir / "fip_zor.safetensors"


def test_one_training_is_one_entry_with_its_epochs(host, trained):
    (made,) = listed(host.lora_dir)
    assert made.name == "fip_zor"
    assert made.path == host.lora_dir / "fip_zor.safetensors"
    assert made.epochs == ("fip_zor-000001", "fip_zor-000002")
    assert made.tags == ("fip zor woman", "red hair")
    assert made.prompt == "fip zor woman, red hair, <lora:fip_zor:0.8>"
    assert Image.open(made.preview).size == (64, 64)
    assert made.size_bytes == sum(path.stat().st_size for path in made.files)
    assert made.made_at[:2] == "20"


def test_epochs_of_a_training_that_was_cut_off(host, trained):
    for ending in (".safetensors", ".json"):
        trained.with_suffix(ending).unlink()
    (made,) = listed(host.lora_dir)
    assert (made.name, made.path.stem) == ("fip_zor", "fip_zor-000002")
    assert made.prompt == "fip zor woman, red hair, <lora:fip_zor-000002:0.8>"


def test_edited_cards_count_and_damaged_ones_do_not(host, trained):
    card = trained.with_suffix(".json")
    card.write_text(json.dumps({"activation text": "fip zor, in snow", "preferred weight": 0.5}))
    assert listed(host.lora_dir)[0].prompt == "fip zor, in snow, <lora:fip_zor:0.5>"
    card.write_text("{")
    assert listed(host.lora_dir)[0].prompt == "fip zor woman, red hair, <lora:fip_zor:0.8>"


@pytest.mark.parametrize(
    "data", [b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0{}", b"\x09\0\0\0\0\0\0\0{}", b"\x02\0\0\0\0\0\0\0[]", b"\x01" * 40]
)
def test_other_files_are_left_out(host, data):
    host.lora_dir.mkdir()
    path = host.lora_dir / "other.safetensors"
    path.write_bytes(data)
    assert header(path) == {}
    assert listed(host.lora_dir) == ()


def test_the_trash_gets_all_files_of_one_and_none_of_others(host, made, tmp_path):
    shutil.copytree(made, host.lora_dir)
    other = host.lora_dir / "fip_zor-2.safetensors"
    (host.lora_dir / "fip_zor-000009.safetensors").write_bytes(b"somebody's")
    before = {path.name for path in host.lora_dir.iterdir()}
    folder = delete(host.lora_dir, "fip_zor", tmp_path / "trash")
    moved = {path.name for path in folder.iterdir()}
    assert {"fip_zor.safetensors", "fip_zor.json", "fip_zor.png", "fip_zor-000002.safetensors"} <= moved
    assert {path.name for path in host.lora_dir.iterdir()} == before - moved
    assert other.is_file()
    assert not {name for name in moved if name.startswith("fip_zor-2")}
    with pytest.raises(OutputError, match="no LoRA"):
        delete(host.lora_dir, "fip_zor", tmp_path / "trash")


def test_a_trash_below_the_loras_is_not_listed(host, trained):
    delete(host.lora_dir, "fip_zor", host.lora_dir / ".distill" / "trash")
    assert listed(host.lora_dir) == ()


def test_a_trash_that_can_not_be_written_moves_nothing(host, trained, tmp_path):
    (tmp_path / "trash").write_text("a file")
    with pytest.raises(OutputError, match="Nothing was moved"):
        delete(host.lora_dir, "fip_zor", tmp_path / "trash")
    assert trained.is_file()
