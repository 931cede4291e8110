"""The catalog, documents, step executions and online rows in the database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from tidegate import digest as digests
from tidegate.errors import ConflictError
from tidegate.records.pipeline import StepRun
from tidegate.store.ports import Catalog, CatalogEntry, Document, Documents, OnlineRow, OnlineStore, StepStore
from tidegate.store.sql.database import Database
from tidegate.store.sql.tables import catalog, documents, online_rows, step_runs
from tidegate.store.sql.upsert import put_rows

_CHUNK = 500


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


class SqlCatalog:
    """See ``Catalog``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, entry: CatalogEntry) -> None:
        with self._database.write() as connection:
            put_rows(connection, catalog, [{**entry._asdict(), "summary": _text(entry.summary)}])

    def list(self, kind: str, name: str = "", *, limit: int | None = None) -> list[CatalogEntry]:
        query = sa.select(catalog).where(catalog.c.kind == kind)
        if name:
            query = query.where(catalog.c.name == name)
        query = query.order_by(catalog.c.created_at.desc(), catalog.c.number.desc()).limit(limit)
        with self._database.read() as connection:
            return [
                CatalogEntry(
                    row.kind, row.name, row.number, row.key, row.digest, row.created_at, msgspec.json.decode(row.summary)
                )
                for row in connection.execute(query)
            ]

    def clear(self) -> None:
        with self._database.write() as connection:
            connection.execute(sa.delete(catalog))


class SqlDocuments:
    """See ``Documents``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, document: Document) -> bool:
        try:
            with self._database.write() as connection:
                connection.execute(sa.insert(documents).values(**{**document._asdict(), "body": _text(document.body)}))
        except IntegrityError:
            return False
        return True

    def update(self, document: Document) -> Document:
        changed = document._replace(revision=document.revision + 1)
        same = (documents.c.kind == document.kind) & (documents.c.id == document.id)
        with self._database.write() as connection:
            result = connection.execute(
                sa.update(documents)
                .where(same, documents.c.revision == document.revision)
                .values(
                    at=changed.at,
                    state=changed.state,
                    body=_text(changed.body),
                    revision=changed.revision,
                    subject=changed.subject,
                )
            )
            if result.rowcount != 1:
                raise ConflictError(
                    "moved-meanwhile",
                    f"{document.kind} {document.id} was changed by somebody else meanwhile",
                    why=f"it is no longer at revision {document.revision}",
                    fix="read it again and decide anew",
                )
        return changed

    def find(self, kind: str, key: str) -> Document | None:
        with self._database.read() as connection:
            row = connection.execute(sa.select(documents).where(documents.c.kind == kind, documents.c.id == key)).one_or_none()
        return _document(row) if row is not None else None

    def remove(self, kind: str, key: str) -> None:
        with self._database.write() as connection:
            connection.execute(sa.delete(documents).where(documents.c.kind == kind, documents.c.id == key))

    def list(self, kind: str, *, subject: str = "", state: str = "", limit: int | None = None) -> list[Document]:
        query = sa.select(documents).where(documents.c.kind == kind)
        if subject:
            query = query.where(documents.c.subject == subject)
        if state:
            query = query.where(documents.c.state == state)
        query = query.order_by(documents.c.at.desc(), documents.c.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [_document(row) for row in connection.execute(query)]


def _document(row: Any) -> Document:
    return Document(row.kind, row.id, row.subject, row.state, row.at, msgspec.json.decode(row.body), row.revision)


class SqlSteps:
    """See ``StepStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, step_run: StepRun) -> None:
        same = (step_runs.c.run_id == step_run.run) & (step_runs.c.step == step_run.step)
        with self._database.write() as connection:
            connection.execute(sa.delete(step_runs).where(same))
            connection.execute(
                sa.insert(step_runs).values(
                    run_id=step_run.run,
                    step=step_run.step,
                    pipeline=step_run.pipeline,
                    state=step_run.state.value,
                    key=step_run.key,
                    started_at=step_run.started_at,
                    body=_text(step_run),
                )
            )

    def find_done(self, key: str) -> StepRun | None:
        return self._newest(step_runs.c.key == key, step_runs.c.state == "DONE")

    def latest(self, pipeline: str, step: str, *, before_run: str = "") -> StepRun | None:
        return self._newest(
            step_runs.c.pipeline == pipeline,
            step_runs.c.step == step,
            step_runs.c.state.in_(["DONE", "CACHED"]),
            step_runs.c.run_id != before_run,
        )

    def of_run(self, run_id: str) -> list[StepRun]:
        query = sa.select(step_runs.c.body).where(step_runs.c.run_id == run_id).order_by(step_runs.c.id)
        with self._database.read() as connection:
            return [digests.parsed(row.body, StepRun) for row in connection.execute(query)]

    def _newest(self, *conditions: sa.ColumnElement[bool]) -> StepRun | None:
        query = sa.select(step_runs.c.body).where(*conditions).order_by(step_runs.c.id.desc()).limit(1)
        with self._database.read() as connection:
            body = connection.execute(query).scalar()
        return digests.parsed(body, StepRun) if body is not None else None


class SqlOnline:
    """See ``OnlineStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, view: str, definition: str, rows: Iterable[OnlineRow]) -> int:
        newest = {row.entity: row for row in sorted(rows, key=lambda row: row.event_at)}
        stored = [_stored_row(view, definition, row) for row in newest.values()]
        with self._database.write() as connection:
            return put_rows(connection, online_rows, stored, newer="event_at")

    def get(self, view: str, definition: str, entities: Sequence[str]) -> dict[str, OnlineRow]:
        mine = (online_rows.c.view == view) & (online_rows.c.definition == definition)
        found: dict[str, OnlineRow] = {}
        with self._database.read() as connection:
            for start in range(0, len(entities), _CHUNK):
                query = sa.select(online_rows).where(mine, online_rows.c.entity.in_(entities[start : start + _CHUNK]))
                for row in connection.execute(query):
                    found[row.entity] = OnlineRow(row.entity, row.event_at, row.written_at, msgspec.json.decode(row.payload))
        return found


def _stored_row(view: str, definition: str, row: OnlineRow) -> dict[str, Any]:
    return {
        "view": view,
        "definition": definition,
        "entity": row.entity,
        "event_at": row.event_at,
        "written_at": row.written_at,
        "payload": _text(row.values),
    }


_catalog: Callable[[Database], Catalog] = SqlCatalog
_documents: Callable[[Database], Documents] = SqlDocuments
_steps: Callable[[Database], StepStore] = SqlSteps
_online: Callable[[Database], OnlineStore] = SqlOnline
