from abaxus_core.kernel.kept import Kept


def test_what_was_used_longest_ago_goes_first() -> None:
    kept: Kept[str, int] = Kept(2)
    kept.put("a", 1)
    kept.put("b", 2)
    assert kept.get("a") == 1
    kept.put("c", 3)
    assert [kept.get(key) for key in "abc"] == [1, None, 3]


def test_the_heavy_take_the_place_of_many() -> None:
    kept: Kept[str, int] = Kept(10)
    for number, key in enumerate("abcde"):
        kept.put(key, number, weight=2)
    kept.put("f", 5, weight=5)
    assert [key for key in "abcdef" if kept.get(key) is not None] == ["d", "e", "f"]


def test_what_is_too_heavy_is_not_kept_nor_what_it_replaces() -> None:
    kept: Kept[str, int] = Kept(10)
    kept.put("a", 1)
    kept.put("b", 2)
    kept.put("a", 3, weight=11)
    assert (kept.get("a"), kept.get("b")) == (None, 2)


def test_what_is_replaced_or_forgotten_weighs_nothing() -> None:
    kept: Kept[str, int] = Kept(10)
    for _ in range(5):
        kept.put("a", 1, weight=6)
    kept.put("b", 2, weight=4)
    assert (kept.get("a"), kept.get("b")) == (1, 2)
    kept.forget("a")
    kept.forget("nobody")
    kept.put("c", 3, weight=6)
    assert (kept.get("b"), kept.get("c")) == (2, 3)
