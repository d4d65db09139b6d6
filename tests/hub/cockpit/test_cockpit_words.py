"""The dictionaries: same places for values in both languages, and no word that nobody says."""

import re
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "hub" / "web" / "src"
ENTRY = re.compile(r"^  (\w+): '((?:[^'\\]|\\.)*)',$", re.MULTILINE)


def words(language: str) -> dict[str, str]:
    return dict(ENTRY.findall((SOURCE / "words" / f"{language}.ts").read_text(encoding="utf-8")))


def test_both_languages_have_the_same_words_and_the_same_places_for_values():
    en, zh = words("en"), words("zh")
    assert len(en) > 100
    assert en.keys() == zh.keys()
    for key, text in en.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", zh[key])), key


def test_every_word_is_said_somewhere():
    said = "".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.ts*") if path.parent.name != "words")
    composed = ("source_", "suspected_", "asset_", "layer_", "on_")  # their ends come from the hub
    unsaid = [key for key in words("en") if not re.search(rf"['`\"]{key}['`\"]", said) and not key.startswith(composed)]
    assert unsaid == []
