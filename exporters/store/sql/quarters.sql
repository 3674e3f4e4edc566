-- Connections of people per quarter hour.
SELECT toUnixTimestamp(bucket) AS at_, sum(success) AS ok, sum(failed_dns) AS dns, sum(failed_other) AS other
FROM live_connections
WHERE kind = 'user' AND bucket >= {a:DateTime('UTC')} AND bucket < {b:DateTime('UTC')}
GROUP BY bucket
