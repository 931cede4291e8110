import hashlib

from hypothesis import given
from hypothesis import strategies as st

from tidegate import digest
from tidegate.records.receipt import Baseline


@given(st.dictionaries(st.text(), st.text(), max_size=5))
def test_the_order_of_keys_does_not_matter(mapping):
    assert digest.of_json(mapping) == digest.of_json(dict(reversed(mapping.items())))


@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), unique=True))
def test_the_order_of_files_does_not_matter(files):
    assert digest.of_tree(files) == digest.of_tree(reversed(files))


def test_a_file_hashes_like_sha256sum(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3_000_000)
    assert digest.of_file(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_records_have_a_canonical_form():
    assert digest.canonical(Baseline(version=1, digest="a", move=2)) == b'{"digest":"a","move":2,"version":1}'
