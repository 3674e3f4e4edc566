-- One row per rolling window and person: window n begins at `starts[n]`, everything before `hot` stands in `recent` already; the fragments from `hot` on
-- are added up here, in one pass for all windows.  `live` are the days in which any window needs fragments, except those in `settled[n]`.
-- Of everybody, or of the principals named: thousands of them are read much faster from one JSON text than from an array.
WITH named AS (
  SELECT principal.1, principal.2 FROM (SELECT arrayJoin(JSONExtract({principals:String}, 'Array(Tuple(String, String))')) AS principal)
)
SELECT window, person, last_, ok_, dns_, other_, transferred_, received_, relayed_, direct_, devices_, length(merged) AS addresses_,
  arraySlice(arrayPartialSort((address, n) -> (-toInt64(n), address), 10, mapKeys(merged), mapValues(merged)), 1, 10) AS top
FROM (
  SELECT window, if(account_email != '', account_email, if(email != '', email, id)) AS person, max(last_ms) AS last_, sum(ok) AS ok_, sum(dns) AS dns_,
    sum(other) AS other_, sum(transferred) AS transferred_, sum(received) AS received_, sum(relayed) AS relayed_, sum(direct) AS direct_,
    uniqExactArray(used) AS devices_, sumMap(counts) AS merged
  FROM (
    SELECT window, id, email, last_ms, ok, dns, other, transferred, received, relayed, direct, counts, used
    FROM (
      SELECT id, email, arrayFilter((n, start, days) -> bucket >= start AND NOT has(days, toDate(bucket)),
          arrayEnumerate({starts:Array(DateTime('UTC'))}), {starts:Array(DateTime('UTC'))}, {settled:Array(Array(Date))}) AS inside,
        max(last_access) AS last_ms, sum(success) AS ok, sum(failed_dns) AS dns, sum(failed_other) AS other, sum(bytes_transferred) AS transferred,
        sum(bytes_received) AS received, sum(relay) AS relayed, sum(p2p) AS direct, sumMap(client_ips) AS counts, groupUniqArrayArray(devices) AS used
      FROM live_connections
      WHERE kind = 'user' AND ({everybody:Bool} OR (id, email) IN named)
        AND toDate(bucket) IN {live:Array(Date)} AND bucket >= {hot:DateTime('UTC')} AND bucket < {b:DateTime('UTC')}
      GROUP BY id, email, inside
    ) AS fragments
    ARRAY JOIN inside AS window
    UNION ALL
    SELECT window, id, email, last_access, success, failed_dns, failed_other, bytes_transferred, bytes_received, relay, p2p, client_ips, devices
    FROM recent
    WHERE service = {service:String} AND ({everybody:Bool} OR (id, email) IN named)
  ) AS pieces
  LEFT JOIN live_accounts ON account_id = id
  GROUP BY window, person
) AS people
WHERE last_ > 0 OR ok_ + dns_ + other_ > 0
ORDER BY window, person
SETTINGS max_threads = 1 -- behind everybody's back: the other processors are for those who wait
