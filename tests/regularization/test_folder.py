"""Class pictures of one's own: which sub-folder is taken, what their captions are, what is left out and said."""

import pytest
from PIL import Image

from distill.errors import OptionError
from distill.options import PictureOptions
from distill.regularization.folder import check_folder, own_pictures


def put(folder, *names, size=(80, 64)):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", size, "red").save(folder / name)


def taken(root, class_word="woman", most=100, **options):
    pictures, notes = own_pictures(root, class_word, PictureOptions(**options), 64, most)
    return [(p.folder, p.caption, p.repeats) for p in pictures], notes


@pytest.mark.parametrize(
    ("name", "caption", "repeats"),
    [
        ("woman", "woman", 1),
        ("1_woman", "woman", 1),
        ("3_photo of a woman", "photo of a woman", 3),
        ("2_girl", "girl", 2),
        ("Women", "woman", 1),
    ],
)
def test_the_sub_folder_of_the_class_is_taken(tmp_path, name, caption, repeats):
    put(tmp_path, "loose.png")
    put(tmp_path / "man", "a.png")
    put(tmp_path / "1_person", "a.png")
    put(tmp_path / name, "b.png")
    assert taken(tmp_path) == ([(name, caption, repeats)], [])


def test_without_a_fitting_one_the_folder_itself(tmp_path):
    put(tmp_path, "2.png", "1.JPG", "10.webp")
    put(tmp_path / "man", "a.png")
    (tmp_path / "notes.md").write_text("no picture")
    assert taken(tmp_path)[0] == [(tmp_path.name, "woman", 1)] * 3


def test_else_all_that_kohya_would_take_but_other_classes(tmp_path):
    put(tmp_path / "2_portrait", "a.png")
    put(tmp_path / "1_man", "a.png")
    put(tmp_path / "unnumbered", "a.png")
    assert taken(tmp_path)[0] == [("2_portrait", "portrait", 2)]


def test_the_folder_itself_may_be_kohyas(tmp_path):
    put(tmp_path / "5_woman", "a.png")
    assert taken(tmp_path / "5_woman")[0] == [("5_woman", "woman", 5)]


def test_captions_are_beside_them(tmp_path):
    put(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "a.txt").write_text("woman, Red_Hair\n", "utf-8")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\xfa")
    (tmp_path / "c.txt").write_text("", "utf-8")
    found, notes = taken(tmp_path)
    assert [caption for _, caption, _ in found] == ["woman, red hair", "woman", "woman"]
    assert notes == ["b.txt can't be read as UTF-8 text; “woman” is taken instead."]


def test_broken_pictures_are_left_out_and_the_next_one_is_taken(tmp_path):
    put(tmp_path, "c.png", "d.png", "e.png")
    (tmp_path / "a.png").write_bytes(b"no picture")
    (tmp_path / "b.png").write_bytes((tmp_path / "c.png").read_bytes()[:60])
    found, notes = taken(tmp_path, most=2)
    assert len(found) == 2
    assert len(notes) == 1
    assert "a.png (This file is not a picture" in notes[0]
    assert "b.png" in notes[0]


@pytest.mark.parametrize(("crop", "size"), [("square", (64, 64)), ("aspect", (64, 64))])
def test_they_are_cut_to_the_training_size(tmp_path, crop, size):
    put(tmp_path, "a.png", size=(300, 200))
    pictures, _ = own_pictures(tmp_path, "woman", PictureOptions(crop=crop), 64, 1)
    assert pictures[0].image.size == size


def test_nothing_usable_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(OptionError, match="none of 1 can be opened"):
        taken(tmp_path)
    put(tmp_path / "empty")
    with pytest.raises(OptionError, match="there is none"):
        taken(tmp_path / "empty")


def test_a_folder_has_to_be_given_and_there(tmp_path):
    with pytest.raises(OptionError, match="none is given"):
        check_folder(" ")
    with pytest.raises(OptionError, match="There is no folder"):
        check_folder(str(tmp_path / "x"))
    assert check_folder(f" {tmp_path} ") == tmp_path
