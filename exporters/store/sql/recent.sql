-- All windows in one pass over the fragments of days that are not settled, up to a moment: as in rolling.sql, which adds what comes after it.
INSERT INTO recent
SELECT {service:String}, window, id, email, ok, dns, other, transferred, received, relayed, direct, last_ms, counts, used
FROM (
  SELECT id, email, arrayFilter((n, start, days) -> bucket >= start AND NOT has(days, toDate(bucket)),
      arrayEnumerate({starts:Array(DateTime('UTC'))}), {starts:Array(DateTime('UTC'))}, {settled:Array(Array(Date))}) AS inside,
    max(last_access) AS last_ms, sum(success) AS ok, sum(failed_dns) AS dns, sum(failed_other) AS other, sum(bytes_transferred) AS transferred,
    sum(bytes_received) AS received, sum(relay) AS relayed, sum(p2p) AS direct, sumMap(client_ips) AS counts, groupUniqArrayArray(devices) AS used
  FROM live_connections
  WHERE kind = 'user' AND toDate(bucket) IN {live:Array(Date)} AND bucket < {hot:DateTime('UTC')}
  GROUP BY id, email, inside
) AS fragments
ARRAY JOIN inside AS window
