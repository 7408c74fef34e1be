from tests.support.postgres import TestDatabases


async def test_modes_are_schemas_of_one_database(databases: TestDatabases) -> None:
    async with databases.live.connection() as conn:
        assert await conn.fetchval("SELECT current_schema()") == "abaxus_live"
    async with databases.test.connection() as conn:
        assert await conn.fetchval("SELECT current_schema()") == "abaxus_test"
