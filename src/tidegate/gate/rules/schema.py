"""``schema``: whoever calls the champion can call the candidate, and understands its answer.

A model is served with exactly the inputs of its signature: one more or one less is refused, so both must take the same names.
"""

from __future__ import annotations

from tidegate.gate.case import Case
from tidegate.gate.rules.outcome import exactly, outcome, subject_of
from tidegate.records.model import DType, Manifest, Tensor
from tidegate.records.policy import Rule
from tidegate.records.report import RuleResult, Shown
from tidegate.records.verdict import Verdict

SHOWN = 20
_NAMED = 3
_TAKES: dict[DType, frozenset[DType]] = {
    "bool": frozenset({"bool"}),
    "int32": frozenset({"int32"}),
    "int64": frozenset({"int64", "int32"}),
    "float32": frozenset({"float32", "float64", "int64", "int32", "bool"}),
    "float64": frozenset({"float64", "float32", "int64", "int32", "bool"}),
    "string": frozenset({"string"}),
}
"""Which types an input takes without losing what it means: wider numbers take narrower ones; floats differ in precision alone."""


def judge_schema(rule: Rule, case: Case, confidence: float, seed: int) -> RuleResult:
    """No difference between the signatures may break a caller of the champion."""
    del confidence, seed
    subject = subject_of(case)
    method = "signatures are compared name by name"
    if subject.champion is None:
        reason = "There is no champion yet, so nobody calls it."
        return outcome(rule, Verdict.PASS, reason, method=method, candidate=exactly(0))
    found = differences(subject.candidate.manifest, subject.champion.manifest)
    figures = {"method": method, "candidate": exactly(len(found)), "shown": found[:SHOWN]}
    if not found:
        reason = f"Whoever calls {subject.champion.ref} can call {subject.candidate.ref}."
        return outcome(rule, Verdict.PASS, reason, **figures)
    some = "; ".join(f"{each.key}: {each.note}" for each in found[:_NAMED])
    more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    reason = f"Callers of {subject.champion.ref} would break, in {len(found)} way{'s' if len(found) > 1 else ''}: {some}{more}."
    return outcome(rule, Verdict.FAIL, reason, **figures)


def differences(candidate: Manifest, champion: Manifest) -> list[Shown]:
    """What breaks a caller: inputs first, then outputs, then classes."""
    known = {tensor.name: tensor for tensor in champion.signature.inputs}
    taken = {tensor.name for tensor in candidate.signature.inputs}
    answered = {tensor.name: tensor for tensor in candidate.signature.outputs}
    found = [
        Shown(key=f"input {tensor.name}", label="", candidate=_told(tensor), champion=_told(known.get(tensor.name)), note=note)
        for tensor in candidate.signature.inputs
        if (note := _input(tensor, known.get(tensor.name)))
    ]
    found += [
        Shown(
            key=f"input {name}",
            label="",
            candidate="",
            champion=_told(tensor),
            note="callers send it, the candidate takes no such input",
        )
        for name, tensor in known.items()
        if name not in taken
    ]
    found += [
        Shown(
            key=f"output {tensor.name}", label="", candidate=_told(answered.get(tensor.name)), champion=_told(tensor), note=note
        )
        for tensor in champion.signature.outputs
        if (note := _output(answered.get(tensor.name), tensor))
    ]
    if candidate.classes != champion.classes:
        note = "the classes differ" if set(candidate.classes) != set(champion.classes) else "the classes stand in another order"
        ours, theirs = (", ".join(manifest.classes[:SHOWN]) for manifest in (candidate, champion))
        found.append(Shown(key="classes", label="", candidate=ours, champion=theirs, note=note))
    return found


def _input(ours: Tensor, theirs: Tensor | None) -> str:
    """Why callers of the champion do not send what the candidate takes; empty if they do."""
    if theirs is None:
        return "the champion takes no such input, so callers do not send it"
    if theirs.dtype not in _TAKES[ours.dtype]:
        return f"callers send {theirs.dtype}, the candidate takes {ours.dtype}"
    if theirs.shape != ours.shape:
        return f"callers send the shape {_shape(theirs)}, the candidate takes {_shape(ours)}"
    return "callers may leave values out, the candidate needs them all" if theirs.nullable and not ours.nullable else ""


def _output(ours: Tensor | None, theirs: Tensor) -> str:
    """Why callers of the champion do not understand the answer; empty if they do."""
    if ours is None:
        return "callers expect it, the candidate does not give it"
    if ours.dtype != theirs.dtype:
        return f"callers expect {theirs.dtype}, the candidate gives {ours.dtype}"
    if ours.shape != theirs.shape:
        return f"callers expect the shape {_shape(theirs)}, the candidate gives {_shape(ours)}"
    return "callers expect a value always, the candidate may give none" if ours.nullable and not theirs.nullable else ""


def _told(tensor: Tensor | None) -> str:
    return "" if tensor is None else f"{tensor.dtype} {_shape(tensor)}{', may be missing' if tensor.nullable else ''}"


def _shape(tensor: Tensor) -> str:
    return " x ".join("rows" if size == -1 else str(size) for size in tensor.shape)
