"""The README's options table is the one that options.py makes."""

from pathlib import Path

from distill.options import markdown_table

README = Path(__file__).parents[1] / "README.md"


def test_options_table_is_current():
    text = README.read_text("utf-8")
    table = text.split("--markdown` -->\n\n")[1].split("\n\n<!-- /options")[0]
    assert table.strip() == markdown_table()
