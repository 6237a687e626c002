"""What the tests of several targets share."""

from collections.abc import Iterator

import pytest

from tests.remembering import remember, shared_folder


@pytest.fixture(scope="session", autouse=True)
def remembered_conversions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have the same static model converted once in the whole run."""
    with pytest.MonkeyPatch.context() as patch:
        remember(patch, shared_folder(tmp_path_factory))
        yield


@pytest.fixture(scope="module")
def quick_search(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have searches for int8 recipes time little, try few floats, and keep a cache of their own."""
    import export.int8.cost
    import export.int8.search

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELIR_EDGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(export.int8.search, "_ROUNDS", 1)
        patch.setattr(export.int8.cost, "_COUNTS", (1,))
        yield
