"""The answer to "What is in it without captions?"."""

from PIL import Image

from distill.residue import BY_CHECKPOINT, FOUND, NOTHING, Residue
from distill.ui.residue_panel import found

PICTURES = (Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "blue"))


def test_captions_that_are_missing_are_buttons():
    shown = found(Residue(PICTURES, PICTURES, ("window", 'a "b" <i>'), ("pocket",)))
    assert "can&#x27;t be left out later" in shown
    assert 'data-residue-add="window">window</button>' in shown
    assert "a &quot;b&quot; &lt;i&gt;</button>" in shown
    assert shown.count('<img src="data:image/webp;base64,') == 2
    assert "<b>pocket</b>" in shown
    assert NOTHING not in shown


def test_nothing_is_said_so():
    shown = found(Residue(PICTURES, PICTURES, (), (BY_CHECKPOINT,)))
    assert NOTHING in shown
    assert FOUND[:20] not in shown
    assert "<button" not in shown
    assert "with a captioner set, more is found" in shown
