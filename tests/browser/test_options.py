"""What is not as the defaults is marked, counted and goes back; presets are chosen, saved, handed over and taken."""

import json

import pytest

from tests.browser.conftest import open_tab
from tests.browser.test_serve import describe, text_is


def unfold(page, group):
    page.locator(f"#distill_group_{group} > button, #distill_group_{group} > .label-wrap").first.click()
    page.wait_for_timeout(800)  # a slider that is still being unfolded does not take the number


def block(page, name):
    return page.locator(f"#distill_{name}").first


def type_in(page, name, value, kind="input[type=number]"):
    field = block(page, name).locator(kind).first
    field.fill(str(value))
    field.press("Tab")


def count_is(page, group, number):
    page.wait_for_function(
        "([g, n]) => (document.querySelector(`#distill_group_${g} > .distill-group b`)?.textContent || '0') === n",
        arg=[group, str(number)],
    )


def is_marked(page, name, yes=True):
    page.wait_for_function(
        "([name, yes]) => document.querySelector(`#distill_${name}`).classList.contains('distill-changed') === yes",
        arg=[name, yes],
    )


def value_becomes(page, name, value):
    page.wait_for_function("([name, v]) => window.distill.options.value(name) === v", arg=[name, value])


def choose(page, preset):
    field = page.locator("#distill_preset input").first
    option = page.locator("ul.options li, [role=option]").filter(has_text=preset).first
    for _ in range(20):  # a page that has just opened asks for the list
        field.click()
        page.wait_for_timeout(500)
        if option.is_visible():
            break
        field.press("Escape")
        field.blur()
    option.click()


def change_one_of_each_kind(page):
    type_in(page, "views", "face", "textarea, input")  # a text
    type_in(page, "repeats", 7)  # a slider
    block(page, "flip").locator("input").first.check()  # a checkbox
    type_in(page, "unet_lr", 0.0003)  # a number
    block(page, "lr_scheduler").locator("label", has_text="linear").first.click()  # a choice


@pytest.mark.slow
def test_marks_counts_and_resets(page):
    for group in ("picture", "training", "network"):
        unfold(page, group)
        count_is(page, group, 0)
    change_one_of_each_kind(page)
    for name in ("views", "repeats", "flip", "unet_lr", "lr_scheduler"):
        is_marked(page, name)
    count_is(page, "picture", 1)
    count_is(page, "training", 4)
    text_is(page, "#distill_cost", "^24 steps")  # the server has them too

    for left, (name, value) in enumerate((("flip", False), ("unet_lr", 0.001), ("lr_scheduler", "constant")), start=1):
        block(page, name).locator(".distill-reset").click()
        value_becomes(page, name, value)
        is_marked(page, name, False)
        count_is(page, "training", 4 - left)
    page.click("#distill_group_training .distill-group button")
    value_becomes(page, "repeats", 20)
    count_is(page, "training", 0)
    text_is(page, "#distill_cost", "^60 steps")
    page.click("#distill_group_picture .distill-group button")
    value_becomes(page, "views", "")
    page.wait_for_selector(".distill-changed", state="detached")

    type_in(page, "repeats", 7)  # once more: the same option can be reset again
    is_marked(page, "repeats")
    block(page, "repeats").locator(".distill-reset").click()
    value_becomes(page, "repeats", 20)


@pytest.mark.slow
def test_tooltips_say_what_it_looks_like(page):
    unfold(page, "training")
    page.wait_for_function("document.querySelector('#distill_unet_lr').title.startsWith('Too high: burnt colours')")


@pytest.mark.slow
def test_a_preset_is_counted_where_it_is_folded_too(page):
    choose(page, "Part 2")
    text_is(page, "#distill_goal_help", "60 class pictures")
    assert page.locator("#distill_goal input:checked").count() == 0
    count_is(page, "regularization", 2)
    count_is(page, "caption", 2)
    unfold(page, "training")
    value_becomes(page, "text_encoder_lr", 0.0005)
    count_is(page, "training", 8)
    page.click("#distill_group_regularization .distill-group button")
    count_is(page, "regularization", 0)
    choose(page, "Flexible")
    count_is(page, "training", 0)
    count_is(page, "caption", 0)
    assert page.locator("#distill_goal input:checked").get_attribute("value") == "Flexible"


@pytest.mark.slow
def test_save_hand_over_delete_and_take(page, server, tmp_path):
    choose(page, "One Image")
    text_is(page, "#distill_goal_help", "120 steps")
    unfold(page, "training")
    value_becomes(page, "unet_lr", 0.0001)
    type_in(page, "epochs", 9)
    page.locator("#distill_preset_own > button, #distill_preset_own > .label-wrap").first.click()
    name = page.locator("#distill_preset_name").locator("input, textarea").first
    name.fill("nine epochs")
    page.click("#distill_preset_save")
    text_is(page, "#distill_preset_said", "Saved as nine epochs")
    open_tab(page, server)  # it outlives the page
    choose(page, "nine epochs")
    page.locator("#distill_preset_own > button, #distill_preset_own > .label-wrap").first.click()
    unfold(page, "training")
    value_becomes(page, "epochs", 9)
    with page.expect_download() as download:
        page.click("#distill_preset_export")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.name == "nine epochs.json"
    assert json.loads(path.read_text("utf-8"))["options"]["epochs"] == 9
    page.click("#distill_preset_delete")
    text_is(page, "#distill_preset_said", "Deleted nine epochs")
    choose(page, "Flexible")
    value_becomes(page, "epochs", 6)
    page.set_input_files("#distill_preset_own input[type=file]", path)
    text_is(page, "#distill_preset_said", "Imported as nine epochs")
    value_becomes(page, "epochs", 9)
    page.click("#distill_preset_delete")
    text_is(page, "#distill_preset_said", "Deleted nine epochs")


@pytest.mark.slow
def test_a_preset_trains_from_the_tab(page):
    page.set_default_timeout(60_000)  # class pictures are made first
    describe(page)
    choose(page, "Part 2")
    page.wait_for_function("(p) => document.querySelector('#distill_preset input').value === p", arg="Part 2")
    wanted = {
        "training": {"repeats": 2, "epochs": 1},
        "sampling": {"sample_steps": 2},
        "regularization": {"reg_count": 2},
    }
    for group, numbers in wanted.items():
        unfold(page, group)
        for name, number in numbers.items():
            type_in(page, name, number)
            value_becomes(page, name, number)
    page.click("#distill_go")
    page.wait_for_selector("#distill_root[data-state=running]", timeout=60_000)
    page.wait_for_selector("#distill_root[data-state=done]", timeout=120_000)
    text_is(page, "#distill_status", r"Done: [\w-]+ is in the LoRA folder")
