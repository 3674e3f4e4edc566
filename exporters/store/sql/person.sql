-- One person's addresses and devices in a window, with their successful connections and when they were last seen there, most frequent first.
SELECT used.1 AS what, used.2 AS name, sum(used.3) AS many_, max(last_access) AS last_
FROM (
  SELECT last_access, arrayConcat(
      arrayMap((address, n) -> ('address', toString(address), n), mapKeys(client_ips), mapValues(client_ips)),
      arrayMap(device -> ('device', toString(device), toUInt64(0)), devices)) AS every
  FROM live_connections
  -- The ids alone are what the table's order finds quickly.
  WHERE kind = 'user' AND id IN {ids:Array(String)} AND (id, email) IN {principals:Array(Tuple(String, String))}
    AND bucket >= {a:DateTime('UTC')} AND bucket < {b:DateTime('UTC')}
) AS each
ARRAY JOIN every AS used
GROUP BY what, name
ORDER BY what, many_ DESC, last_ DESC, name
LIMIT {limit:UInt32} BY what
