-- One row per person with an access or a counted connection in the window; devices are those of their own, later window.
WITH people AS (
  SELECT id AS who_id, email AS who_email,
    if(account_email != '', account_email, if(email != '', email, id)) AS person
  FROM (SELECT DISTINCT id, email FROM connections WHERE kind = 'user') AS seen
  LEFT JOIN live_accounts ON account_id = id
)
SELECT w.person, w.last_ms, w.ok, w.dns, w.other, w.transferred, w.received, w.relayed, w.direct, d.devices_, length(w.counts) AS addresses_,
  arrayMap(x -> x.1, arraySlice(arraySort(x -> (-toInt64(x.2), x.1), arrayZip(mapKeys(w.counts), mapValues(w.counts))), 1, 10)) AS top
FROM (
  SELECT person, max(last_access) AS last_ms, sum(success) AS ok, sum(failed_dns) AS dns, sum(failed_other) AS other,
    sum(bytes_transferred) AS transferred, sum(bytes_received) AS received, sum(relay) AS relayed, sum(p2p) AS direct, sumMap(client_ips) AS counts
  FROM live_connections INNER JOIN people ON who_id = id AND who_email = email
  WHERE kind = 'user' AND bucket >= {a:DateTime('UTC')} AND bucket < {b:DateTime('UTC')}
  GROUP BY person
  HAVING last_ms > 0 OR ok + dns + other > 0
) AS w
LEFT JOIN (
  SELECT person, uniqExactArray(devices) AS devices_
  FROM live_connections INNER JOIN people ON who_id = id AND who_email = email
  WHERE kind = 'user' AND bucket >= {device_a:DateTime('UTC')} AND bucket < {device_b:DateTime('UTC')}
  GROUP BY person
) AS d ON d.person = w.person
ORDER BY w.person
