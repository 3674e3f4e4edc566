-- One row per person of a rolling window: settled days as they were added up before, everything else from the fragments themselves.
SELECT person, last_, ok_, dns_, other_, transferred_, received_, relayed_, direct_, length(merged) AS addresses_,
  arraySlice(arrayPartialSort((address, n) -> (-toInt64(n), address), 10, mapKeys(merged), mapValues(merged)), 1, 10) AS top
FROM (
  SELECT if(account_email != '', account_email, if(email != '', email, id)) AS person, max(last_ms) AS last_, sum(ok) AS ok_, sum(dns) AS dns_, sum(other) AS other_,
    sum(transferred) AS transferred_, sum(received) AS received_, sum(relayed) AS relayed_, sum(direct) AS direct_, sumMap(counts) AS merged
  FROM (
    SELECT id, email, max(last_access) AS last_ms, sum(success) AS ok, sum(failed_dns) AS dns, sum(failed_other) AS other,
      sum(bytes_transferred) AS transferred, sum(bytes_received) AS received, sum(relay) AS relayed, sum(p2p) AS direct, sumMap(client_ips) AS counts
    FROM (
      SELECT id, email, last_access, success, failed_dns, failed_other, bytes_transferred, bytes_received, relay, p2p, client_ips
      FROM live_connections
      WHERE kind = 'user' AND bucket >= {a:DateTime('UTC')} AND bucket < {b:DateTime('UTC')} AND toDate(bucket) NOT IN {settled:Array(Date)}
      UNION ALL
      SELECT id, email, last_access, success, failed_dns, failed_other, bytes_transferred, bytes_received, relay, p2p, client_ips
      FROM days WHERE service = {service:String} AND day IN {settled:Array(Date)}
    ) AS pieces
    GROUP BY id, email
  ) AS sums
  LEFT JOIN live_accounts ON account_id = id
  GROUP BY person
) AS people
WHERE last_ > 0 OR ok_ + dns_ + other_ > 0
ORDER BY person
