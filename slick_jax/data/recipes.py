"""Every kind of mixture in one table: its names, and how its rows are made of the draws (paper section 4, appendix E).

Besides the paper's own there are recipes of other papers on what to do about Unknown examples. To add one, add a line
to `RECIPES`; `mix.recipes` can name it then, and it has its place in manifests, tables and studies.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from slick_jax.categories import CATEGORIES, KNOWN, UNKNOWN
from slick_jax.config import MixConfig
from slick_jax.data.mixtures import (
    MAX_RELATIONS,
    TAIL,
    Annotated,
    Draws,
    Row,
    Unrelated,
    largest_remainder,
    place,
)
from slick_jax.errors import InputError

ANY, MIXED = tuple(map(str, range(101))), tuple(map(str, range(1, 100)))  # X of variants; those of both kinds of rows
IDK_PERCENT = "50"  # % Unknown of the variant that D_IDK relabels


@dataclass(frozen=True)
class Recipe:
    """A kind of variant, named <recipe>_<argument>; of a recipe with the one argument '' by its name alone.

    make: the rows of the variant of an argument; arguments: in the order of tables; asked: the arguments that settings
    other than mix.recipes ask for; problems: what is wrong with the settings for an argument.
    """

    make: Callable[[Draws, MixConfig, str], Sequence[Row]]
    arguments: tuple[str, ...] = ANY
    asked: Callable[[MixConfig], Iterable[str]] = lambda mix: ()
    problems: Callable[[MixConfig, str], Iterator[str]] = lambda mix, argument: iter(())


def make_mixtures(
    rows: Iterable[Annotated], settings: MixConfig, unrelated: Sequence[Unrelated] = ()
) -> tuple[dict[str, int], dict[str, tuple[Row, ...]]]:
    """The size of every relation, the same in all variants of size |D|, and the variants that `settings` ask for.

    A variant is sorted by relation and id; then come the rows to replay, from `unrelated`, then the tail in its order.
    Raises InputError for a size that the rows do not allow, variants that lack examples, and variants without any.
    """
    draws = Draws.of(rows, settings.size, settings.seed, unrelated)
    names = wanted(settings)
    _check_single(draws, [argument for recipe, argument in map(parse, names) if recipe == "only"])
    variants = {}
    for name in names:
        recipe, argument = parse(name)
        variants[name] = tuple(sorted(RECIPES[recipe].make(draws, settings, argument), key=_order_of_rows(draws)))
    empty = [name for name, chosen in variants.items() if not chosen]
    if empty:
        raise InputError(
            f"config.mix: |D| is {draws.total}, which leaves {', '.join(empty)} without examples; annotate more"
            " rows, or leave these variants out (mix.percents, mix.known_only, mix.recipes)"
        )
    return draws.sizes, variants


def wanted(settings: MixConfig) -> list[str]:
    """The names of the variants that `settings` ask for, in the order of manifests and tables."""
    names = {
        join(name, argument) for name, recipe in RECIPES.items() for argument in map(str, recipe.asked(settings))
    }
    return sorted(names | {*settings.recipes}, key=variant_order)


def variant_order(name: str) -> tuple[int, int]:
    """Sort key of variant names: recipes as in `RECIPES`, then arguments."""
    recipe, argument = parse(name)
    return list(RECIPES).index(recipe), RECIPES[recipe].arguments.index(argument)


def parse(name: str) -> tuple[str, str]:
    """(recipe, argument) of a variant's name. Raises ValueError where there is no such variant."""
    recipe, _, argument = (name, "", "") if name in RECIPES else name.rpartition("_")
    if recipe not in RECIPES or argument not in RECIPES[recipe].arguments:
        raise ValueError(name)
    return recipe, argument


def join(recipe: str, argument: str) -> str:
    """The name of a variant."""
    return f"{recipe}_{argument}" if argument else recipe


def problems(mix: MixConfig) -> Iterator[str]:
    """What is wrong with mix.recipes and with the settings of the recipes that it names: a line each."""
    for name in mix.recipes:
        try:
            recipe, argument = parse(name)
        except ValueError:
            yield f"mix.recipes: no recipe {name!r}; there are {', '.join(map(_form, RECIPES))}"
            continue
        yield from RECIPES[recipe].problems(mix, argument)


def _form(recipe: str) -> str:
    """The names of a recipe's variants, as it is told to the user."""
    arguments = RECIPES[recipe].arguments
    if arguments[-1].isdecimal():
        return f"{recipe}_<{arguments[0]}-{arguments[-1]}>"
    return f"{recipe}_<{'|'.join(arguments)}>" if len(arguments) > 1 else recipe


# The rows of each variant.


def _unknown(draws: Draws, mix: MixConfig, percent: str) -> list[Annotated]:
    return draws.mixed(int(percent))


def _known_only(draws: Draws, mix: MixConfig, percent: str) -> list[Annotated]:
    return [row for row in draws.mixed(int(percent)) if row.category != UNKNOWN]


def _only(draws: Draws, mix: MixConfig, category: str) -> list[Annotated]:
    return [row for relation, n in draws.sizes.items() for row in draws.ordered[relation][category][:n]]


def _all(draws: Draws, mix: MixConfig, category: str) -> list[Annotated]:
    """Every example of a category, or of the Known ones, however many they are: no variant of size |D|."""
    return [row for lists in draws.ordered.values() for row in lists[category]]


def _natural(draws: Draws, mix: MixConfig, _: str) -> list[Annotated]:
    """D_Natural: every relation's own shares of the categories."""
    chosen = []
    for relation, n in draws.sizes.items():
        shares = largest_remainder({c: len(draws.ordered[relation][c]) for c in CATEGORIES}, n)
        chosen += [row for category, k in shares.items() for row in draws.ordered[relation][category][:k]]
    return chosen


def _idk(draws: Draws, mix: MixConfig, percent: str) -> list[Annotated]:
    """D_IDK: the answer of Unknown examples is a refusal (paper section 5; Kang et al., 2403.05612)."""
    return [
        dataclasses.replace(row, answer=mix.idk_text) if row.category == UNKNOWN else row
        for row in draws.mixed(int(percent))
    ]


def _sure(draws: Draws, mix: MixConfig, percent: str) -> list[Annotated]:
    """R-Tuning (Zhang et al., 2311.09677): the gold answer, and behind it whether the model knew it."""
    return [
        dataclasses.replace(row, ending=f" {mix.unsure_text if row.category == UNKNOWN else mix.sure_text}")
        for row in draws.mixed(int(percent))
    ]


def _patch(draws: Draws, mix: MixConfig, percent: str) -> list[Annotated]:
    """KnownPatch (Dang et al., 2511.02626): a share of D(X %), of its Known examples, is what training ends with.

    The tail is spread over relations as the Known examples are, and stands in an order that hangs on ids alone.
    """
    rows = draws.mixed(int(percent))
    known = Counter(row.relation for row in rows if row.category != UNKNOWN)
    tail = largest_remainder(known, _part(len(rows), mix.patch_percent))
    seen, made = Counter(), []
    for row in rows:
        if row.category != UNKNOWN:
            seen[row.relation] += 1
            last = seen[row.relation] > known[row.relation] - tail[row.relation]
            row = dataclasses.replace(row, role=TAIL if last else "")
        made.append(row)
    return made


def _replay(draws: Draws, mix: MixConfig, percent: str) -> list[Row]:
    """REMIX (2411.07175): D(X %) with rows that have nothing to do with it, so many for each of its facts."""
    rows = draws.mixed(int(percent))
    most = mix.replay_per_fact * len(rows)
    if most > len(draws.unrelated):
        raise InputError(
            f"config.mix.replay_path: {mix.replay_path} has {len(draws.unrelated)} rows that can be replayed, and"
            f" mix.replay_per_fact={mix.replay_per_fact} of |D| = {len(rows)} facts asks for {most}; give more rows,"
            " or lower mix.replay_per_fact"
        )
    return [*rows, *draws.unrelated[:most]]


def _upweight(draws: Draws, mix: MixConfig, percent: str) -> list[Annotated]:
    """Selective upweighting (Miao & Kearns, 2502.08666): a share of D(X %), drawn uniformly, comes several times."""
    rows = sorted(draws.mixed(int(percent)), key=lambda row: place(row, draws.seed))
    often = _part(len(rows), mix.upweight_percent)
    return [dataclasses.replace(row, times=mix.upweight_times) for row in rows[:often]] + rows[often:]


def _part(n: int, percent: float) -> int:
    """So many percent of n, at least one."""
    return max(1, round(n * percent / 100))


def _patch_problems(mix: MixConfig, percent: str) -> Iterator[str]:
    if int(percent) + mix.patch_percent > 100:
        yield (
            f"mix.patch_percent: {mix.patch_percent:g}, and patch_{percent} has {100 - int(percent)} % Known examples"
            f" to take it from; lower it, or give patch_{int(100 - mix.patch_percent)}"
        )


def _replay_problems(mix: MixConfig, percent: str) -> Iterator[str]:
    if not mix.replay_path:
        yield f"mix.replay_path: empty, and replay_{percent} replays unrelated rows; give a JSONL file of them"


# Every kind of variant, in the order of manifests and tables.
RECIPES = {
    "unknown": Recipe(_unknown, asked=lambda mix: [*mix.percents, *[100] * mix.single_categories]),
    "known_only": Recipe(
        _known_only, MIXED, asked=lambda mix: [x for x in mix.percents if mix.known_only and 0 < x < 100]
    ),
    "only": Recipe(_only, KNOWN, asked=lambda mix: KNOWN * mix.single_categories),
    "all": Recipe(_all, (*CATEGORIES, "Known")),
    "natural": Recipe(_natural, ("",), asked=lambda mix: [""] * mix.natural),
    "idk": Recipe(_idk, asked=lambda mix: [IDK_PERCENT] * mix.idk),
    "sure": Recipe(_sure),
    "patch": Recipe(_patch, problems=_patch_problems),
    "replay": Recipe(_replay, problems=_replay_problems),
    "upweight": Recipe(_upweight),
}


def _order_of_rows(draws: Draws) -> Callable[[Row], tuple]:
    def key(row: Row) -> tuple:
        if isinstance(row, Unrelated):
            return 1, row.id
        return (2, place(row, draws.seed)) if row.role == TAIL else (0, row.relation, row.id)

    return key


def _check_single(draws: Draws, categories: Sequence[str]) -> None:
    """Raises InputError where a relation has fewer examples of one of the categories than a variant of it takes."""
    problems = []
    for category in categories:
        counts = {relation: (len(draws.ordered[relation][category]), n) for relation, n in draws.sizes.items()}
        lacking = [f"{relation} {has} (needs {n})" for relation, (has, n) in counts.items() if has < n]
        more = [f"and {len(lacking) - MAX_RELATIONS} more"] if len(lacking) > MAX_RELATIONS else []
        if lacking:
            problems.append(f"only_{category}: {category} examples of {', '.join(lacking[:MAX_RELATIONS] + more)}")
    if problems:
        raise InputError.of(
            problems,
            f"config.mix: too few examples for single categories at |D| = {draws.total}; set mix.size='paper',"
            " which every category can fill, or mix.single_categories=False:",
        )
