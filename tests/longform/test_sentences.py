"""Sentences, against splits made by hand."""

import pytest

from slick_jax.longform.sentences import is_complete, sentences

CASES = {  # '|' where a sentence ends
    "titles": "Dr. Anna Lind met Mr. Smith and Mrs. Wu at St. Mary's Church.| She left.",
    "initials": "J. R. R. Tolkien wrote it.| J.R.R. Tolkien was born in 1892.| W. H. Auden liked it.",
    "initials that are words or units": "S. A. Douglas won.| R. G. Gosling took it, signed A. A. L.| A bird sang.",
    "one small letter": "She taught in Frankfurt a. M. for years.| He (b. 1901) hit key c.| It broke.",
    "initial before a name at the end": "She married George W. Bush.| They moved to Ohio.",
    "decimals and money": "It cost $3.50 in 1990.| The rate rose by 2.5 percent, to 7.25.| Nobody paid.",
    "number begins": "He was born in 1903.| 12 years later he left.",
    "numbered works": "He wrote Symphony No. 5 and Op. 27.| It runs from pp. 3 to vol. 2 of the edition.",
    "no as a word": "Asked, he said no.| Then he left.",
    "country at the end": "He moved to the U.S. in 1950.| He left the U.S.| He liked it.| The U.S. Army hired him.",
    "degrees": "She took a Ph.D. in Oslo and an M.D. from Bergen.| In 1990, she earned a Ph.D.| She taught.",
    "times": "It opens at 9 a.m. on Mondays.| It closes at 5 p.m.| The staff leave later.",
    "companies": "He founded Acme Inc. in 1901.| He later ran Wells Co. Ltd. of London.",
    "jr": "Martin Luther King Jr. was a minister.| He was followed by Ken Griffey Jr.| His son was born later.",
    "latin": "Use fruit, e.g. Apples, i.e. Malus, etc. in salads.| It is, cf. Smith, good.",
    "et al": "Smith et al. Published nothing.| Jones et al. were first.",
    "quotes": 'He said "Never again."| He meant it.| "Why?" he asked.| “Because!” she cried.| They left.',
    "quote opens": 'It ended.| "Not yet," said Ann.| (She was late.)| The end.',
    "exclamation and question": "What a day!| Was it good?| It was!?| Yes.",
    "ellipsis": "He waited... and waited.| He waited...| She came… | Then it rained.",
    "months": "He died on Jan. 5, 1990, and was buried on Sept. 9.| The funeral was small.",
    "circa": "The poet (c. 1340 – ca. 1400) was born in approx. London.| He died.",
    "line breaks": "This is a line\nthat goes on.| And\nends.| Then more.",
    "paragraphs": "Early life\n\n|He was born.| He died\n\n|Legacy",
    "list": "Facts:\n|- Born in Rome\n|- Died in Paris.\n|He wrote:\n|1. A book\n|2. A play. It failed.",
    "brand": "She used the drug. iPhones came later.",  # a small letter does not begin a sentence
    "unicode": "Él nació en Perú.| Émile was born.| Øystein too.",
    "dosage": "Take 5 mg. daily with approx. 2.5 ml. of water.| Do not exceed 10 mg.| The dose is low.",
    "units": "Aspirin has 75 mg.| Patients take 5 mg. 3 times.",
    "no space": "See example.com or v1.2.3 for more.| It is.here.",
    "footnotes": "He was born in Ulm.[1] |He died in 1955.[2][3] |He won.[4]",
    "other scripts": "他生于乌尔姆。|他死于1955年。|他赢了！|مرحبا بك. |كيف حالك؟ |نعم.",
    "abbreviated state": "He was born in Washington, D.C. and died in D.C.| He was 80.",
}
CASES["list"] = CASES["list"].replace("A play. It", "A play.| It")


@pytest.mark.parametrize("name", CASES)
def test_splits_made_by_hand(name):
    marked = CASES[name]
    marks = [" ".join(one.split()) for one in marked.split("|")]
    wanted = [one.removeprefix("- ").removeprefix("1. ").removeprefix("2. ") for one in marks]
    assert sentences(marked.replace("|", "")) == wanted


def test_nothing_is_lost_or_moved():
    apart = ("list", "paragraphs", "other scripts")  # marks of items go, and blanks come
    text = " ".join(case.replace("|", "") for name, case in CASES.items() if name not in apart)
    assert " ".join(sentences(text)) == " ".join(text.split())


@pytest.mark.parametrize("text", ["", "  \n\n ", "\n"])
def test_an_empty_text_has_none(text):
    assert sentences(text) == []


def test_line_ends_of_windows():
    assert sentences("One\r\n\r\nTwo. Three\r\nfour.") == ["One", "Two.", "Three four."]


def test_marks_alone_and_no_marks():
    assert sentences("no mark at all") == ["no mark at all"]
    assert sentences("...") == ["..."]


def test_a_cut_sentence_is_told():
    assert is_complete('He said "Never."') and is_complete("Was it (really)?")
    assert not is_complete("He was born in 19") and not is_complete("He was born,")


def test_a_long_text_is_split_in_linear_time():
    assert len(sentences("He was here. " * 20_000)) == 20_000
