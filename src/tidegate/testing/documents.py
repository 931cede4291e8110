"""What every ``Documents`` must do."""

from __future__ import annotations

from tidegate.errors import ConflictError
from tidegate.store.ports import Document, Documents
from tidegate.testing.expecting import at_once, refused


def _document(key: str = "a", state: str = "OPEN", revision: int = 1) -> Document:
    return Document("decision", key, "delay", state, 5, {"text": "ü"}, revision)


class DocumentsSuite:
    """Needs the fixture ``documents``: an empty store of documents."""

    def test_a_document_is_added_once(self, documents: Documents) -> None:
        """The second of the same kind and id changes nothing."""
        assert documents.add(_document())
        assert not documents.add(_document(state="OTHER"))
        assert documents.find("decision", "a") == _document()
        assert documents.find("alert", "a") is None

    def test_a_stale_update_is_refused(self, documents: Documents) -> None:
        """An update names the revision that it saw."""
        documents.add(_document())
        changed = documents.update(_document(state="TRAINED"))
        assert (changed.revision, changed.state) == (2, "TRAINED")
        with refused(ConflictError):
            documents.update(_document(state="LOST"))
        assert documents.list("decision", state="TRAINED") == [changed]
        assert documents.list("decision", subject="other") == []

    def test_of_many_updates_one_wins(self, documents: Documents) -> None:
        """All the others learn that they lost."""
        documents.add(_document())
        wins: list[str] = []

        def update(number: int) -> None:
            try:
                wins.append(documents.update(_document(state=str(number))).state)
            except ConflictError:
                return

        at_once(8, update)
        found = documents.find("decision", "a")
        assert found is not None
        assert wins == [found.state]
