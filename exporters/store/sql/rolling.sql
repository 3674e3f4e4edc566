-- One row per rolling window and person: everything before a moment stands in `recent` already, the fragments from there on are added up here.
-- Of everybody, or of the principals named.
SELECT window, person, last_, ok_, dns_, other_, transferred_, received_, relayed_, direct_, devices_, length(merged) AS addresses_,
  arrayStringConcat(arraySlice(arrayPartialSort((address, n) -> (-toInt64(n), address), 10, mapKeys(merged), mapValues(merged)), 1, 10), ' ') AS top
FROM (
  SELECT window, if(account_email != '', account_email, if(email != '', email, id)) AS person, max(last_ms) AS last_, sum(ok) AS ok_, sum(dns) AS dns_,
    sum(other) AS other_, sum(transferred) AS transferred_, sum(received) AS received_, sum(relayed) AS relayed_, sum(direct) AS direct_,
    uniqExactArray(used) AS devices_, sumMap(counts) AS merged
  FROM (
    SELECT * FROM (@fragments)
    UNION ALL
    SELECT window, id, email, last_access, success, failed_dns, failed_other, bytes_transferred, bytes_received, relay, p2p, client_ips, devices
    FROM recent
    WHERE service = {service:String} AND ({everybody:Bool} OR (id, email) IN (@named))
  ) AS pieces
  LEFT JOIN live_accounts ON account_id = id
  GROUP BY window, person
) AS people
WHERE last_ > 0 OR ok_ + dns_ + other_ > 0
ORDER BY window, person
SETTINGS max_threads = 1 -- behind everybody's back: the other processors are for those who wait
