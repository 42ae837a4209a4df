"""What the page on disclosure prints holds: its snippets, its presets, its command."""

from __future__ import annotations

import re
import tomllib

from cohort.results.disclosure_rule import PRESETS, DisclosureRule


def test_the_snippets_and_the_table_of_presets_are_those_of_the_code(root):
    page = (root / "docs" / "disclosure.md").read_text(encoding="utf-8")
    for text in re.findall(r"```toml\n(.*?)```", page, flags=re.S):
        assert DisclosureRule(**tomllib.loads(text)["disclosure"]).preset == "nhs"
    for text in re.findall(r"```python\n(.*?)```", page, flags=re.S):
        exec(text, {})  # noqa: S102 -- our own page
    rows = re.findall(r"^\| `(\w+)`(?: \(default\))? \| (.*?) \|", page, flags=re.M)
    assert [name for name, _ in rows if name in PRESETS] == list(PRESETS)
    for name, withheld in rows[:3]:
        rule = DisclosureRule(preset=name)
        assert withheld == f"{1 if rule.show_zero else 0} to {rule.minimum - 1}"


def test_the_long_form_of_the_attacker_is_where_the_page_says(root):
    page = (root / "docs" / "disclosure.md").read_text(encoding="utf-8")
    (path,) = re.findall(r"^    python (\S+) --reports 10000 --chains 1000 --tables 500 --state \S+$", page, flags=re.M)
    text = (root / path).read_text(encoding="utf-8")
    assert '"--reports", type=int, default=10_000' in text
    assert '"--chains", type=int, default=1_000' in text


def test_the_glossary_is_in_order_and_knows_what_a_report_says_of_methods(root):
    terms = re.findall(
        r"^\| (?!term|---)(.+?) \| .+ \|$", (root / "docs" / "glossary.md").read_text("utf-8"), flags=re.M
    )
    letters = [re.sub(r"\W", "", term).casefold() for term in terms[:-1]]  # the token comes last
    assert letters == sorted(letters)
    printed = " ".join(terms).casefold()
    for word in (
        "aalen–johansen",
        "kaplan–meier",
        "fine–gray",
        "e-value",
        "smd",
        "garwood",
        "wilson",
        "left otherwise",
    ):
        assert word in printed
