-- What each carrier used in each UTC month, straight from the file. $path: flights.csv.
-- The 95th percentile is in hundredths of a minute, so that it is a whole number: its rank is
-- 95 (n - 1) / 100, and between two neighbours it is interpolated by the remainder.
WITH flights AS (
    SELECT
        carrier,
        strftime(CAST(replace(time_hour, 'Z', '') AS TIMESTAMP), '%Y-%m') AS month,
        TRY_CAST(distance AS BIGINT) AS distance,
        CASE WHEN tailnum NOT IN ('', 'NA') THEN tailnum END AS tailnum,
        TRY_CAST(dep_delay AS BIGINT) AS dep_delay,
        TRY_CAST(air_time AS BIGINT) AS air_time
    FROM read_csv($path, header = true, all_varchar = true)
),
used AS (
    SELECT
        carrier,
        month,
        count(*) AS flights,
        coalesce(sum(distance), 0) AS miles,
        count(DISTINCT tailnum) AS aircraft,
        list_sort(list(dep_delay) FILTER (dep_delay IS NOT NULL)) AS delays,
        coalesce(max(air_time), 0) AS longest_leg
    FROM flights
    GROUP BY carrier, month
),
ranked AS (
    SELECT *, 95 * (len(delays) - 1) AS rank_hundredths FROM used
)
SELECT
    carrier,
    month,
    CAST(flights AS BIGINT) AS flights,
    CAST(miles AS BIGINT) AS miles,
    CAST(aircraft AS BIGINT) AS aircraft,
    CAST(coalesce(
        100 * delays[rank_hundredths // 100 + 1]
            + coalesce(
                rank_hundredths % 100
                    * (delays[rank_hundredths // 100 + 2] - delays[rank_hundredths // 100 + 1]),
                0
            ),
        0
    ) AS BIGINT) AS delay_hundredths,
    CAST(longest_leg AS BIGINT) AS longest_leg
FROM ranked
ORDER BY carrier, month;
