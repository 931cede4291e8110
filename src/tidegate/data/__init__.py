"""Datasets: snapshots of data that never change, and the contracts that data must keep."""

from tidegate.data.check import CheckResult, ContractError, Violation, check_file, check_rows
from tidegate.data.contract import Contract, load_contract, parse_contract
from tidegate.data.datasets import Datasets, catalog_entry, manifest_key

__all__ = [
    "CheckResult",
    "Contract",
    "ContractError",
    "Datasets",
    "Violation",
    "catalog_entry",
    "check_file",
    "check_rows",
    "load_contract",
    "manifest_key",
    "parse_contract",
]
