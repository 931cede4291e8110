"""``tidegate gate attest | verify``: receipts as others can check them."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from tidegate.cli.console import Json, next_command, open_workspace, print_json
from tidegate.digest import short
from tidegate.gate import store_attestation, verify_attestation
from tidegate.release import find_judged

Receipt = Annotated[str, typer.Argument(metavar="RECEIPT", help="A receipt's digest or its beginning, or MODEL@VERSION.")]


def attest(receipt: Receipt, as_json: Json = False) -> None:
    """Print the in-toto statement of a receipt as JSON, in a signed DSSE envelope where the setting signing_key is set.

    Without a key it is unsigned, and standard error says so. With --json what is printed stands beside digest and signed.
    """
    workspace = open_workspace()
    model, digest = find_judged(workspace.store.bucket, receipt)
    key = workspace.project.settings.signing_key.get_secret_value()
    found = store_attestation(workspace.store.bucket, model, digest, key)
    signed = not isinstance(found, bytes)
    if as_json:
        print_json({"digest": digest, "signed": signed, "attestation": found if signed else msgspec.Raw(found)})
    elif signed:
        print_json(found)
    else:
        typer.echo(found.decode())
    if not signed:
        typer.echo("NOT SIGNED: no signing_key is set, so this statement proves nothing about who made it", err=True)
        typer.echo("   fix: set TIDEGATE_SIGNING_KEY, then run this again: docs/how-to/sign-receipts.md", err=True)


def verify(
    receipt: Receipt,
    key: Annotated[str, typer.Option(metavar="FILE", help="The public key, in PEM.")],
    as_json: Json = False,
) -> None:
    """Check that a key signed what the receipt and its report say. Ends with 1 if it did not."""
    bucket = open_workspace().store.bucket
    model, digest = find_judged(bucket, receipt)
    statement = verify_attestation(bucket, model, digest, key)
    if as_json:
        print_json({"digest": digest, "statement": statement})
        return
    subject = statement["subject"][0]
    typer.echo(f"signed: {subject['name']} {statement['predicate']['result']}, receipt {short(digest)}")
    next_command(f"tidegate gate report {short(digest)}")
