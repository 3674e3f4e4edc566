-- One person's addresses and devices in a window, with their successful connections and when they were last seen there, most frequent first.
SELECT what, name, sum(many) AS many_, max(last_ms) AS last_
FROM (
  SELECT 'address' AS what, pair.1 AS name, pair.2 AS many, last_access AS last_ms
  FROM live_connections ARRAY JOIN CAST(client_ips, 'Array(Tuple(String, UInt64))') AS pair
  WHERE kind = 'user' AND (id, email) IN {principals:Array(Tuple(String, String))} AND bucket >= {a:DateTime('UTC')} AND bucket < {b:DateTime('UTC')}
  UNION ALL
  SELECT 'device' AS what, used AS name, 0 AS many, last_access AS last_ms
  FROM live_connections ARRAY JOIN CAST(devices, 'Array(String)') AS used
  WHERE kind = 'user' AND (id, email) IN {principals:Array(Tuple(String, String))} AND bucket >= {a:DateTime('UTC')} AND bucket < {b:DateTime('UTC')}
) AS each
GROUP BY what, name
ORDER BY what, many_ DESC, last_ DESC, name
LIMIT {limit:UInt32} BY what
