"""The page about MLflow's clients lists every route and every declared difference, and no other."""

from __future__ import annotations

from page import PAGE, differences_table, routes_table, whole


def test_the_page_says_what_the_code_does() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert whole(text) == text, "python tests/mlflow/page.py writes the tables again"


def test_the_tables_are_not_empty() -> None:
    assert "`/api/2.0/mlflow/runs/log-batch`" in routes_table()
    assert "`/v1/traces`" in routes_table()
    assert differences_table().count("\n") > 10
