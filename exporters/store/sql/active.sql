-- One row per person with an access or a counted connection in the window; devices are those of their own, later window.
-- Principals are added up first, in one pass over both windows: they are few, and only they are looked up in the directory.
WITH principals AS (
  SELECT id, email, bucket >= {a:DateTime('UTC')} AND bucket < {b:DateTime('UTC')} AS inside,
    max(last_access) AS last_, sum(success) AS ok_, sum(failed_dns) AS dns_, sum(failed_other) AS other_,
    sum(bytes_transferred) AS transferred_, sum(bytes_received) AS received_, sum(relay) AS relay_, sum(p2p) AS p2p_, sumMap(client_ips) AS counts_,
    groupUniqArrayArrayIf(devices, bucket >= {device_a:DateTime('UTC')} AND bucket < {device_b:DateTime('UTC')}) AS devices_
  FROM live_connections
  WHERE kind = 'user' AND (inside OR bucket >= {device_a:DateTime('UTC')} AND bucket < {device_b:DateTime('UTC')})
  GROUP BY id, email, inside
)
SELECT if(account_email != '', account_email, if(email != '', email, id)) AS person, maxIf(last_, inside) AS last_ms,
  sumIf(ok_, inside) AS ok, sumIf(dns_, inside) AS dns, sumIf(other_, inside) AS other,
  sumIf(transferred_, inside) AS transferred, sumIf(received_, inside) AS received, sumIf(relay_, inside) AS relayed, sumIf(p2p_, inside) AS direct,
  uniqExactArray(devices_) AS devices, length(sumMapIf(counts_, inside) AS counts) AS addresses,
  arraySlice(arrayPartialSort((address, n) -> (-toInt64(n), address), 10, mapKeys(counts), mapValues(counts)), 1, 10) AS top
FROM principals LEFT JOIN live_accounts ON account_id = id
GROUP BY person
HAVING last_ms > 0 OR ok + dns + other > 0
ORDER BY person
