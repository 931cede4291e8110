from tidegate.store.ports import CatalogEntry


def test_the_catalog_lists_newest_first_and_replaces(store):
    for number in (1, 2, 1):
        store.catalog.put(CatalogEntry("dataset", "flights", number, f"k{number}", f"d{number}", number, {"rows": number}))
    assert [entry.number for entry in store.catalog.list("dataset")] == [2, 1]
    assert store.catalog.list("dataset", "flights", limit=1)[0].summary == {"rows": 2}
    assert store.catalog.list("model") == []
    store.catalog.clear()
    assert store.catalog.list("dataset") == []
