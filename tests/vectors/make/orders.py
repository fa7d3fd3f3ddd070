"""Instructions of every kind, made with a line each."""

from typing import Any

from collector import Cases
from forms import (
    EVIDENCE, KEY_SETS, REQUEST, claims, compact, export, general, key_set_digest, name_of, placeholders,
    text_of, with_private,
)
from published import b64

cases = Cases("instruction")
good, bad = cases.good, cases.bad


def signed(label: str, name: str = "ed", /, act: str = "preview", subject: Any = None, protected: Any = None,
           how: str = "sign", **changes: Any) -> str:
    """An instruction with changed members, soundly signed by one."""
    payload, disclosures = claims(label, act, subject, **changes)
    return compact(name, payload, disclosures, protected, how)


def signed_text(label: str, change: Any) -> str:
    """An instruction whose payload's text was changed before it was signed."""
    payload, disclosures = claims(label)
    before = text_of(payload)
    after = change(before)
    assert after != before
    return compact("ed", after, disclosures)


def disclosed(label: str, *arrays: str) -> str:
    """A preview whose disclosures are these JSON texts."""
    disclosures = [b64(text) for text in arrays]
    payload, _ = claims(label)
    payload["sub_id"]["identifiers"] = placeholders(disclosures)
    return compact("ed", payload, disclosures)


def revoke(label: str, target: Any, **changes: Any) -> str:
    return signed(label, act="revoke", sub_id=..., subject=[], target=name_of(target), **changes)


def private(label: str, act: str = "reply", name: str = "ed", change: Any = None, **values: Any) -> str:
    payload, disclosures = with_private(label, *claims(label, act), **values)
    if change:
        payload = change(payload)
    return compact(name, payload, disclosures)


def together(label: str, names: list[str], act: str = "erase", **changes: Any) -> dict[str, Any]:
    payload, disclosures = claims(label, act, **changes)
    return general(names, payload, disclosures)


def third_party(label: str, basis: str = "pipl-13-1", req: Any = ..., **changes: Any) -> str:
    """An export to the third party that the person chose, on consent or a contract that is on record."""
    section = {name: value for name, value in export(**({"evidence": EVIDENCE} | changes)).items() if value is not ...}
    return compact("p384", *with_private(label, *claims(label, "export", basis=basis, export=section, req=req), account="acc-1"))




def careful(label: str, name: str = "ed", act: str = "preview", key_set: str = "careful", **changes: Any) -> str:
    """Signed under another of the world's key sets."""
    named = {"version": 1, "digest": key_set_digest(KEY_SETS[key_set])}
    return signed(label, name, act, key_set=named, **({"req": REQUEST} | changes))
