import argparse

from bnn_train.cli.help_text import HelpText

EPILOG = """\
Of one-way roads and two-way roads, with more words than one line
holds.

Examples:
  run a/very/long/path/that-is-longer/than/the-line
  run b
--flag does something.
"""


def test_paragraphs_stand_apart_examples_stay_and_words_are_whole(monkeypatch):
    monkeypatch.setenv("COLUMNS", "32")
    parser = argparse.ArgumentParser(prog="run", formatter_class=HelpText, epilog=EPILOG)
    parser.add_argument("--to", help="of one-way and two-way")
    text = parser.format_help()
    assert text.endswith(
        """
Of one-way roads and two-way
roads, with more words than
one line holds.

Examples:
  run a/very/long/path/that-is-longer/than/the-line
  run b
--flag does something.
"""
    )
    assert "one-\n" not in text
    assert "two-\n" not in text
