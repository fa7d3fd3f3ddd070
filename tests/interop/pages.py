"""Tries what the pages of docs/integrate show.

Usage:  pages.py bytes MANDATE WORK      runs the script of bytes.md: it must print the message of the page, and the
                                        message must be right by `mandate conformance client`
        pages.py python PROFILE USER    runs the code of python.md beside examples/python
        pages.py node PROFILE USER NODE runs the code of node.md in the folder NODE, beside the kit's files
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import client_path

PAGES = client_path.ROOT / "docs" / "integrate"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (PAGES / page).read_text(), re.DOTALL | re.MULTILINE)


def only(page: str, language: str) -> str:
    found = blocks(page, language)
    if len(found) != 1:
        raise SystemExit(f"{page} has {len(found)} blocks of {language}")
    return found[0]


def bytes_page(mandate: str, work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    script = "set -euo pipefail\n" + only("bytes.md", "sh")
    made = subprocess.run(["bash", "-c", script], cwd=work, check=True, capture_output=True, text=True).stdout
    shown = [block.strip() for block in blocks("bytes.md", "text")]
    if made not in shown:
        raise SystemExit("the script of bytes.md makes another message than the page shows")
    header, payload, disclosure = (block.strip() for block in blocks("bytes.md", "json"))
    from instruction import instruction_digest
    from mandate_client import b64url

    parts = next(dict(line.split() for line in block.splitlines()) for block in shown if "disclosure " in block)
    expected = {
        "disclosure": b64url(disclosure.encode()),
        "signature": made.split("~")[0].split(".")[2],
        "instruction": instruction_digest(made),
        "digest": json.loads(payload)["sub_id"]["identifiers"][0]["..."],
    }
    if parts != expected or not made.startswith(f"{b64url(header.encode())}.{b64url(payload.encode())}."):
        raise SystemExit("the parts that bytes.md shows are not those of the message")
    (work / "preview-eddsa.txt").write_text(made)
    judged = subprocess.run([mandate, "conformance", "--json", "client", str(work)], capture_output=True, text=True)
    answers = {case["case"]: case["answer"] for case in map(json.loads, judged.stdout.splitlines())}
    if answers["preview-eddsa"] != "OK" or set(answers.values()) != {"OK", "MISSING"}:
        raise SystemExit(f"conformance says otherwise: {answers}")
    print("bytes.md: the script makes the message of the page, and it is right")


def python_page(profile: str, user: str) -> None:
    paths = os.pathsep.join(str(path) for path in (client_path.CLIENT, client_path.CLIENT / "generated"))
    run([sys.executable, "-c", only("python.md", "python")], profile, user, PYTHONPATH=paths)


def node_page(profile: str, user: str, folder: Path) -> None:
    (folder / "page.mjs").write_text(only("node.md", "js"))
    run(["node", str(folder / "page.mjs")], profile, user)


def run(command: list[str], profile: str, user: str, **environment: str) -> None:
    environment = os.environ | {"PROFILE": profile, "SUBJECT": user} | environment
    subprocess.run(command, check=True, env=environment)


def main() -> None:
    match sys.argv[1:]:
        case ["bytes", mandate, work]:
            bytes_page(mandate, Path(work))
        case ["python", profile, user]:
            python_page(profile, user)
        case ["node", profile, user, folder]:
            node_page(profile, user, Path(folder))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
