"""Plain English: the words that the prose does not use, and the length of its sentences.

The rule holds over README.md, CONTRIBUTING.md, SECURITY.md and docs/, and over the comments and docstrings of hvd_train,
from which the help of every flag is made. Code in backticks and blocks is not prose.
"""

from __future__ import annotations

import re
import tokenize
import warnings
from pathlib import Path

import docs_commands
import docs_pages
import pytest
import tyro

PACKAGE = docs_pages.REPOSITORY / "hvd_train"
MOST_WORDS = 25
# What is not written: the pattern, and what is written instead.
WORDS = {
    r"rows (a|per) (rank|step)": "local batch size, global batch size",
    r"\bshared? out\b|\bsharing out\b": "the optimizer state is sharded",
    r"(?<!standard )\bdeviations?\b": "standard deviation",
    r"\b(matrix )?products?\b|\bproduct rate\b": "matrix multiplication, GEMM throughput",
    r"\bworth\b": "effect; a table of effects is an ablation",
    r"\baims?\b|\baimed\b": "target",
    r"\bby turns\b": "interleaved",
    r"\bbad minute\b": "noise",
    r"\b(pieces|dealt|deals? to)\b": "blocks, chunks, assigned",
    r"\b(model|network|net|loss|head|it) (says?|said)\b": "predicts, outputs",
    r"\bis (said|told)\b|\bsaid once\b|\bwho is told\b": "the program prints, reports or warns",
    r"\bchances?\b": "probability",
    r"\b(set|made) by (itself|themselves)\b|\bkept as given\b": "automatic defaults, overridden by the user",
    r"\bhand(s|ed)?[ -]over\b": "transfer, broadcast",
    r"\bwhole or not there\b": "written atomically",
    r"\banew\b": "again",
    r"\b(stands?|standing) beside\b": "is next to",
    r"\bwho \w+ \w+ gets\b": "subject first: an explicit value takes precedence",
    r"\bmeetings?\b": "barrier, negotiation",
    r"\ball in all\b": "in total",
    r"\bnothing (else )?of its own\b": "name what it needs",
}


@pytest.mark.parametrize("page", docs_pages.pages(), ids=docs_pages.name_of)
def test_pages_use_plain_words(page: Path) -> None:
    assert [f"line {n}: {found}" for n, line in docs_pages.prose(page) for found in hard_words(line)] == []


# Statistics and names of Horovod, where the word is the right one.
ALLOWED_IN_CODE = ("deviation from a mean", "squared deviations", "the same product", "Max, Product or Adasum")


def test_comments_and_docstrings_use_plain_words() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        with path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                is_docstring = token.type == tokenize.STRING and token.string.endswith('"""')
                if token.type == tokenize.COMMENT or is_docstring:
                    for allowed in ALLOWED_IN_CODE:
                        token = token._replace(string=token.string.replace(allowed, ""))
                    words = hard_words(re.sub(r"`[^`]*`", "", token.string))
                    found += [f"{docs_pages.name_of(path)}:{token.start[0]}: {word}" for word in words]
    assert found == []


@pytest.mark.parametrize("page", docs_pages.pages(), ids=docs_pages.name_of)
def test_sentences_are_short(page: Path) -> None:
    long = [
        f"line {number}, {count} words: {sentence}"
        for number, text in docs_pages.paragraphs(page)
        for sentence in docs_pages.sentences(text)
        if (count := num_words(sentence)) > MOST_WORDS
    ]
    assert long == []


@pytest.mark.parametrize("page", docs_pages.pages(), ids=docs_pages.name_of)
def test_a_full_stop_instead_of_a_semicolon(page: Path) -> None:
    assert [f"line {n}: {text}" for n, text in docs_pages.paragraphs(page) if ";" in text] == []


@pytest.mark.parametrize("verb", docs_commands.KINDS)
def test_help_uses_plain_words_and_short_sentences(verb: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        actions = tyro.extras.get_parser(docs_commands.KINDS[verb])._actions
    wrong = []
    for action in actions:
        text = re.sub(r" *\((default: .*|required)\)$", "", action.help or "", flags=re.DOTALL)
        long = [sentence for sentence in docs_pages.sentences(text) if num_words(sentence) > MOST_WORDS]
        wrong += [f"{action.dest}: {found}" for found in [*hard_words(text), *long, *([text] if ";" in text else [])]]
    assert wrong == []


def num_words(sentence: str) -> int:
    return len(re.findall(r"[\w'%/.-]*\w[\w'%/.-]*", sentence))


def hard_words(text: str) -> list[str]:
    return [
        f"{found[0]!r}: write {instead!r}"
        for pattern, instead in WORDS.items()
        for found in re.finditer(pattern, text, re.I)
    ]


def test_hard_words_are_seen() -> None:
    assert all(map(hard_words, ("The deviation", "dealt anew", "it is shared out", "32 rows a rank", "It says 7")))
    assert not hard_words("A standard deviation. The rank, of size 2, stands alone.")
    assert docs_pages.sentences("One thing. And two: all. See e.g. this.") == [
        "One thing.",
        "And two:",
        "all.",
        "See e.g this.",
    ]
