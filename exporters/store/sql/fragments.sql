-- What lies between two moments in days that are not settled, added up per rolling window and principal in one pass, as a part of other queries: window n
-- begins at `starts[n]`, its days in `settled[n]` are left out; `live` are the days in which any window needs fragments.  Of everybody, or of the named.
SELECT window, id, email, last_ms, ok, dns, other, transferred, received, relayed, direct, counts, used
FROM (
  SELECT id, email, arrayFilter((n, start, days) -> bucket >= start AND NOT has(days, toDate(bucket)),
      arrayEnumerate({starts:Array(DateTime('UTC'))}), {starts:Array(DateTime('UTC'))}, {settled:Array(Array(Date))}) AS inside,
    max(last_access) AS last_ms, sum(success) AS ok, sum(failed_dns) AS dns, sum(failed_other) AS other, sum(bytes_transferred) AS transferred,
    sum(bytes_received) AS received, sum(relay) AS relayed, sum(p2p) AS direct, sumMap(client_ips) AS counts, groupUniqArrayArray(devices) AS used
  FROM live_connections
  WHERE kind = 'user' AND ({everybody:Bool} OR (id, email) IN (@named))
    AND toDate(bucket) IN {live:Array(Date)} AND bucket >= {a:DateTime('UTC')} AND bucket < {b:DateTime('UTC')}
  GROUP BY id, email, inside
) AS each
ARRAY JOIN inside AS window
