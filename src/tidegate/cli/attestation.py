"""``tidegate gate attest | verify``: receipts as others can check them."""

from __future__ import annotations

from typing import Annotated

import typer

from tidegate.cli.console import Json, next_command, open_workspace, print_json
from tidegate.digest import short
from tidegate.gate import find_receipt, store_attestation, verify_attestation

Receipt = Annotated[str, typer.Argument(metavar="RECEIPT", help="A receipt's digest or its beginning, or MODEL@VERSION.")]


def attest(receipt: Receipt) -> None:
    """Print the in-toto statement of a receipt, in a signed DSSE envelope where the setting signing_key is set. Always JSON."""
    workspace = open_workspace()
    model, digest = find_receipt(workspace.store.bucket, receipt)
    key = workspace.project.settings.signing_key.get_secret_value()
    found = store_attestation(workspace.store.bucket, model, digest, key)
    if isinstance(found, bytes):
        typer.echo(found.decode())
    else:
        print_json(found)


def verify(
    receipt: Receipt,
    key: Annotated[str, typer.Option(metavar="FILE", help="The public key, in PEM.")],
    as_json: Json = False,
) -> None:
    """Check that a key signed what the receipt and its report say. Ends with 1 if it did not."""
    bucket = open_workspace().store.bucket
    model, digest = find_receipt(bucket, receipt)
    statement = verify_attestation(bucket, model, digest, key)
    if as_json:
        print_json({"digest": digest, "statement": statement})
        return
    subject = statement["subject"][0]
    typer.echo(f"signed: {subject['name']} {statement['predicate']['result']}, receipt {short(digest)}")
    next_command(f"tidegate gate report {short(digest)}")
