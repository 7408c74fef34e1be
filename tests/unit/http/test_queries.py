"""Queries that were read once are given to all who ask the same."""

import msgspec
import pytest

from abaxus_core.http.routes import ENDPOINTS

QUERIES = sorted({each.query for each in ENDPOINTS if each.query is not None}, key=repr)


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.__name__)
def test_a_query_cannot_be_changed_by_who_is_given_it(query: type[msgspec.Struct]) -> None:
    assert query.__struct_config__.frozen
    for field in msgspec.structs.fields(query):
        kinds = str(msgspec.inspect.type_info(field.type))
        assert not any(kind in kinds for kind in ("ListType", "DictType", "SetType"))
