-- Addresses and devices of one person in a window, most frequent first.
SELECT max(last_access) AS last_ms, sumMap(client_ips) AS addresses, groupArrayArray(devices) AS used
FROM live_connections
WHERE kind = 'user' AND (id, email) IN {principals:Array(Tuple(String, String))} AND bucket >= {a:DateTime('UTC')} AND bucket < {b:DateTime('UTC')}
