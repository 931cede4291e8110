"""Multiclass and multilabel: which classes there are, and which expression of each role belongs to which class."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tidegate import frames
from tidegate.gate.evidence.reading import Reading
from tidegate.gate.evidence.spread import MAX_PARTS, NESTED, NUMERIC, Spread, natural
from tidegate.gate.wording import listed

_ENUM = "evidence_class"
_SHOWN = 5


def class_codes(
    reading: Reading, con: frames.Connection, table: str, spreads: dict[str, Spread], declared: list[str]
) -> tuple[dict[str, Spread], list[str]]:
    """Multiclass: each role's expressions and the classes. A single column gives codes of the classes, several the probabilities.

    Classes are the declared ones, else those of the labels and of the models, sorted (numbers by size).
    """
    if spreads["label"].several:
        what = f"the label column {spreads['label'].name!r} holds several values per row"
        reading.refuse("label-not-one", what, 'give one class per row, or use task = "multilabel"')
        return spreads, []
    coded = {role: spread for role, spread in spreads.items() if not spread.several}
    texts = _texts(coded)
    seen = {role: _seen(reading, con, table, coded[role], text) for role, text in texts.items()}
    if reading.problems:
        return spreads, []
    if len(seen["label"]) < 2:
        what = f"every label in {spreads['label'].name!r} is the same"
        reading.refuse("one-class", what, "judge on rows that hold at least two classes")
    tables = {role: spread for role, spread in spreads.items() if spread.several}
    tables = {role: _named(reading, spread, seen["label"], declared) for role, spread in tables.items()}
    named = [name for spread in tables.values() for name in spread.parts]
    given = declared or natural(list({*named, *(value for values in seen.values() for value in values)}))
    for role, values in seen.items():
        _refuse_unknown(
            reading, coded[role], [value for value in values if value not in given], "which the policy's classes lack"
        )
    for spread in tables.values():
        lacking = [value for value in seen["label"] if value not in spread.parts]
        _refuse_unknown(
            reading, spread, lacking, "which stand in the labels: it has no probability for them", noun="does not know"
        )
    if reading.problems:
        return spreads, []
    _tell_unseen(reading, seen, tables)
    con.execute(f"CREATE OR REPLACE TYPE {_ENUM} AS ENUM ({', '.join(map(frames.literal, given))})")
    found = {role: replace(coded[role], parts={"": f"enum_code(({text})::{_ENUM})"}) for role, text in texts.items()}
    found |= {role: spread.ordered(given, "0") for role, spread in tables.items()}
    return {role: found[role] for role in spreads}, given


def _texts(coded: dict[str, Spread]) -> dict[str, str]:
    """SQL for the classes as text: 1 and 1.0 are the same class, as are true and 1 where another column holds numbers."""
    numeric = any(spread.kinds & NUMERIC for spread in coded.values())
    found: dict[str, str] = {}
    for role, spread in coded.items():
        column = frames.quote(spread.name)
        if spread.kinds & {"float", "double", "decimal"}:
            whole = f"{column} = floor({column}) AND abs({column}) < 1e15"
            text = f"CASE WHEN {whole} THEN TRY_CAST({column} AS BIGINT)::VARCHAR ELSE {column}::DOUBLE::VARCHAR END"
        elif "boolean" in spread.kinds and numeric:
            text = f"{column}::TINYINT::VARCHAR"
        else:
            text = f"{column}::VARCHAR"
        found[role] = text
    return found


def _seen(reading: Reading, con: frames.Connection, table: str, spread: Spread, text: str) -> list[str]:
    """The classes in a column, sorted; rows without one are refused."""
    noun = "label" if spread.role == "label" else "prediction"
    if spread.kinds & NESTED:
        what = f"the {spread.role} column {spread.name!r} holds nested values"
        reading.refuse("not-a-class", what, "give one class per row as text or number")
        return []
    missing: Any = con.execute(
        f"SELECT count(*), count(*) FILTER (coalesce(lower({text}), 'nan') = 'nan') FROM {table}"
    ).fetchone()
    if missing[1]:
        what = f"{missing[1]:,} of {missing[0]:,} rows have no {noun} in {spread.name!r}"
        reading.refuse(f"{noun}-missing", what, f"give every row a {noun}")
    found = con.execute(f"SELECT DISTINCT {text} AS v FROM {table} LIMIT {MAX_PARTS + 1}").fetchall()
    if len(found) > MAX_PARTS:
        what = f"the {spread.role} column {spread.name!r} has more than {MAX_PARTS:,} classes"
        reading.refuse("too-many-classes", what, 'use task = "regression" for numbers, or put rare classes together')
        return []
    return natural([row[0] for row in found if row[0] is not None])


def _named(reading: Reading, spread: Spread, labels: list[str], declared: list[str]) -> Spread:
    """Class names for the places of a list: the declared ones, the numbers 0 to K-1, or the label's classes if they are K."""
    if spread.named:
        return spread
    count = len(spread.parts)
    numbers = [str(place) for place in range(count)]
    names = declared or (numbers if set(labels) <= set(numbers) else labels)
    if len(names) != count:
        where = "the policy names" if declared else "the labels have"
        reading.refuse(
            "classes-unknown",
            f"each row of {spread.name!r} holds {count} numbers, but {where} {len(names)} classes",
            "name them in their order: classes = [...] in the policy, or give a struct or columns such as p_*",
        )
        return spread
    return replace(spread, named=True, parts=dict(zip(names, spread.parts.values(), strict=True)))


def _refuse_unknown(reading: Reading, spread: Spread, values: list[str], why: str, noun: str = "holds") -> None:
    if values:
        what = f"the {spread.role} {spread.name!r} {noun} {_some(values)}, {why}"
        reading.refuse("class-unknown", what, "give the model's probability of every class, or leave those rows out")


def _some(values: list[str]) -> str:
    return listed([repr(value[:80]) for value in values], _SHOWN)


def _tell_unseen(reading: Reading, seen: dict[str, list[str]], tables: dict[str, Spread]) -> None:
    labels = set(seen["label"])
    known = {role: values for role, values in seen.items() if role != "label"} | {
        role: list(s.parts) for role, s in tables.items()
    }
    extra = natural([name for name in {name for names in known.values() for name in names} if name not in labels])
    if extra:
        reading.warn(
            "class-not-in-labels",
            f"no label is {_some(extra)}",
            "judge on rows that hold every class, or mind that these are not judged",
        )
    never = [name for name in seen["label"] if name not in seen.get("candidate", labels)]
    if never:
        reading.warn("class-never-predicted", f"the candidate never predicts {_some(never)}", "check that it knows these classes")


def label_parts(reading: Reading, spreads: dict[str, Spread], declared: list[str]) -> tuple[dict[str, Spread], list[str]]:
    """Multilabel: each role's expressions in one order, and the names of the labels."""
    for spread in spreads.values():
        if not spread.several:
            what = f"the {spread.role} column {spread.name!r} holds one value per row"
            reading.refuse("not-several", what, f"give a list, a struct, a map, or columns such as {spread.name}_*")
    if reading.problems:
        return spreads, []
    named = [spread for spread in spreads.values() if spread.named]
    known = declared or (list(named[0].parts) if named else list(spreads["label"].parts))
    placed = {role: _placed(reading, spread, known) for role, spread in spreads.items()}
    if reading.problems:
        return spreads, []
    label = placed["label"]
    names = natural(
        list({*label.parts, *(name for spread in placed.values() if label.words or spread.words for name in spread.parts)})
    )
    names = [name for name in label.parts if name in names] + [name for name in names if name not in label.parts]
    names = [name for name in declared if name in names] or names
    extra: list[str] = []
    for spread in placed.values():
        lacking = [] if spread.words else [name for name in names if name not in spread.parts]
        _refuse_unknown(reading, spread, lacking, "which the others hold", noun="lacks")
        extra += [name for name in spread.parts if name not in names and name not in extra]
    if extra:
        reading.warn("class-not-in-labels", f"there is no label for {_some(extra)}", "mind that these predictions are not judged")
    return {role: spread.ordered(names, "0") for role, spread in placed.items()}, names


def _placed(reading: Reading, spread: Spread, names: list[str]) -> Spread:
    if spread.named:
        return spread
    if len(spread.parts) != len(names):
        reading.refuse(
            "lists-differ-in-length",
            f"each row of {spread.name!r} holds {len(spread.parts)} numbers where there are {len(names)} labels",
            "give every list one number per label, in the same order",
        )
        return spread
    return replace(spread, named=True, parts=dict(zip(names, spread.parts.values(), strict=True)))
