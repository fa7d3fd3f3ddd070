"""Makes the vectors, the same bytes every time.

Usage:  python tests/vectors/make            writes them into tests/vectors
        python tests/vectors/make --check    exits 1 where a file is missing, left over or another

Needs `cryptography` and nothing else; the keys stand in RFCs (published.py).
"""

import shutil
import sys

import access_tokens
import approvals
import client
import collector
import forms
import instructions
import key_sets
import withdrawals
from published import KEYS, VECTORS

FORMS = [instructions.cases, approvals.cases, withdrawals.cases, access_tokens.cases, key_sets.cases]


def world() -> dict:
    """What the judge knows: keys, key sets, agreement, the hour."""
    agreement = {
        "apps": [forms.APP], "categories": ["device", "network", "sdk_interaction"], "stores": ["sdk", "logs"],
        "regions": ["cn"], "valid_from": forms.NOW - 1000,
    }
    return {
        "about": "Every key here stands in an RFC, private part and all: never register or trust one.",
        "now": forms.NOW, "origin": forms.ORIGIN, "controller": forms.CONTROLLER, "app": forms.APP,
        "agreements": {
            "current": agreement, "ended": agreement | {"valid_until": forms.NOW},
            "abroad": agreement | {"regions": ["cn", "sg"]},
            # Others operate the store `logs`; in one of them the agreement names who.
            "operated": agreement | {"operated_by": {"logs": "cloud-cn"}},
            "operated-as-agreed": agreement | {"operated_by": {"logs": "cloud-cn"}, "sub_processors": ["cloud-cn"]},
            "media": agreement | {"categories": ["device", "network", "sdk_interaction", "media"]},
        },
        "requests": {
            name: {"app": forms.APP, "rights": rights, "minor": minor} for name, rights, minor in forms.REQUESTS
        },
        "keys": {name: {"source": key.source, "kid": key.kid, "jwk": key.jwk()} for name, key in KEYS.items()},
        "key_sets": forms.KEY_SETS, "pin": forms.PIN,
        "access": {
            "key": "access", "audience": forms.AUDIENCE, "certificate": {"spiffe": forms.SPIFFE, "x5t#S256": forms.X5T},
        },
    }


def made() -> dict[str, str]:
    files = {
        "world.json": collector.json_file(world()),
        "client.json": collector.json_file({
            "instructions": client.INSTRUCTIONS, "access_tokens": client.ACCESS_TOKENS, "brought": client.BROUGHT,
        }),
    }
    for cases in FORMS:
        files |= cases.files()
    return files


def present() -> dict[str, str]:
    paths = [VECTORS / "world.json", VECTORS / "client.json"]
    for cases in FORMS:
        paths += sorted((VECTORS / cases.form).glob("*"))
    return {str(path.relative_to(VECTORS)): path.read_text(encoding="utf-8") for path in paths if path.is_file()}


def main() -> None:
    files = made()
    if sys.argv[1:] == ["--check"]:
        there = present()
        wrong = sorted(path for path in files.keys() | there.keys() if files.get(path) != there.get(path))
        if wrong:
            raise SystemExit("differ from what is made here:\n" + "\n".join(wrong))
    elif sys.argv[1:]:
        raise SystemExit(__doc__)
    else:
        for cases in FORMS:
            shutil.rmtree(VECTORS / cases.form, ignore_errors=True)
        collector.write(VECTORS, files)
    print(len(files), "files")


if __name__ == "__main__":
    main()
