"""Text to sentences, by rules for English: what ends with . ! or ? and is no abbreviation, initial or number.

A mark ends a sentence where white space follows, and then a word that can begin one. Blank lines and the items of a
list end sentences without a mark; single line breaks inside a paragraph are spaces.
"""

from __future__ import annotations

import re


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Never the end of a sentence: a name, a number or an example follows.
_TITLES = _listed(
    """
    adm amb assoc asst atty brig capt cf cmdr col cpl dist dr ed eds e.g ens esp fig figs fr ft gen gov hon i.e insp
    lt maj mesdames messrs mlle mmes mr mrs ms msgr mt mx no nos op orig pfc pp pres prof pseud pvt rep resp rev rt
    sec sen sgt st ste supt viz vol vols vs
    """
)
# Inside a sentence, or its last word: the end only before a word that usually begins one.
_MAYBE_LAST = _listed(
    """
    a.d a.k.a a.m al approx apr aug ave b b.a b.c b.c.e b.sc ba bros c ca c.e ch chap co corp d d.c d.phil dec
    dept ed.d est etc feb fl i.v inc jan jr jul jun ll.b ll.d ltd m.a m.b.a m.d m.p m.sc max mar min nov oct
    p.m p.s para ph.d plc r s.a sec sep sept sq sr u.k u.n u.s u.s.a u.s.s.r univ var
    """
)
# Units behind a number: the end before any word in capitals.
_UNITS = _listed("g kg km lb lbs mg ml oz yr yrs")
_OPENERS = _listed(
    """
    a after although an and as ask at because before both but by contact despite do during each following for from
    furthermore he her here his however i if in it its keep later many meanwhile moreover most nevertheless on once
    one several she since some stop store such take talk tell that the their then there these they this those though
    through thus to today together under unlike until upon use we what when where while who with you your
    """
)
# Footnotes such as [1] may stand behind the mark. Marks of scripts without blanks need none behind them.
# Nothing is tried twice (?<!, ++, *+), so that a long run of points takes time in its length, not in its square.
_MARK = re.compile(r"""(?<![.!?…।۔؟])[.!?…।۔؟]++(?:["'”’»)\]]|\[\d+\])*+(?=\s)|[。！？]+[”’»」』）]*""")
ENDS = (".", "!", "?", "…", "。", "！", "？", "।", "۔", "؟")
_BEFORE_WORD = "([\"'“‘«—–"
_CLOSERS = "\"'”’»)]}」』）"
_OPENING = "\"'“‘«([¿¡*_"
_BLOCK = re.compile(r"\n[ \t]*\n\s*|\n[ \t]*(?=(?:[-*•–]|\d{1,3}[.)])[ \t])")
_ITEM = re.compile(r"(?:[-*•–]|\d{1,3}[.)])[ \t]+")
_WORD = re.compile(r"\S+")


def sentences(text: str) -> list[str]:
    """The sentences of a text in order, white space inside them squeezed to single spaces; [] of an empty text.

    Marks of list items are left out. The last sentence may lack its mark (see `is_complete`).
    """
    found = []
    for block in _BLOCK.split(text.replace("\r\n", "\n")):
        start = _item_end(block)
        for mark in _MARK.finditer(block):
            if mark.start() >= start and _ends(block, start, mark):
                found.append(block[start : mark.end()])
                start = mark.end()
        found.append(block[start:])
    squeezed = (" ".join(one.split()) for one in found)
    return [one for one in squeezed if one]


def is_complete(sentence: str) -> bool:
    """Whether a sentence ends with its mark; the last one of a text that was cut at the token limit may not."""
    text = sentence.rstrip()
    end = len(text)
    while text[end - 1 : end] == "]" and (opened := text.rfind("[", 0, end)) >= 0:
        if not text[opened + 1 : end - 1].isdecimal():
            break
        end = opened
    return text[:end].rstrip(_CLOSERS).endswith(ENDS)


def _item_end(block: str) -> int:
    found = _ITEM.match(block)
    return found.end() if found else 0


def _ends(block: str, start: int, mark: re.Match) -> bool:
    """Whether a sentence ends at this mark."""
    follows = _WORD.search(block, mark.end())
    if follows is None:
        return True
    after = follows.group().lstrip(_OPENING)
    if not after or after[0].islower():
        return False  # goes on in lower case: '"Why?" he asked', 'approx. half'
    if not mark.group().startswith(".") or mark.group().startswith(".."):
        return True
    before = _last_word(block, start, mark.start())
    if mark.group() != "." and not before.endswith("."):
        return True  # a closing quote or bracket behind the point
    word, opener = before.lower().rstrip("."), after.rstrip(",;:.").lower()
    opens = opener in _OPENERS or opener.split("'")[0].split("’")[0] in _OPENERS
    opens = opens and after != "A."  # an initial
    if word in ("no", "nos", "op", "fig", "figs", "pp", "p", "vol", "vols", "ch", "sec", "mt"):
        return not after[0].isdigit() and (word == "no" or opens)  # 'No. 5' is no end, 'He said no. Then' is
    if word in _TITLES:
        return False
    if word in _UNITS and not before.isupper():
        return after[0].isupper()
    if word in _MAYBE_LAST or _is_initials(before):
        return opens
    return True


def _last_word(block: str, start: int, end: int) -> str:
    """What stands before `end`, back to a blank or an opening mark: looked for from there, as sentences may be long."""
    first = end
    while first > start and not (block[first - 1].isspace() or block[first - 1] in _BEFORE_WORD):
        first -= 1
    return block[first:end]


def _is_initials(before: str) -> bool:
    """'J', 'J.R.R', 'U.S': single capitals with points between them; or one letter, as in 'Frankfurt a. M.'"""
    capitals = all(len(part) == 1 and part.isupper() for part in before.split(".") if part) and before != ""
    return capitals or (len(before) == 1 and before.isalpha())
