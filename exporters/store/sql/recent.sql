-- All windows up to a moment, added up per principal: their spans, and the fragments of days that are not settled in one pass.
INSERT INTO recent
SELECT {service:String}, window, id, email, sum(ok), sum(dns), sum(other), sum(transferred), sum(received), sum(relayed), sum(direct), max(last_ms),
  sumMap(counts), groupUniqArrayArray(used)
FROM (
  SELECT window, id, email, ok, dns, other, transferred, received, relayed, direct, last_ms, counts, used
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
  UNION ALL
  SELECT window, id, email, success, failed_dns, failed_other, bytes_transferred, bytes_received, relay, p2p, last_access, client_ips, devices
  FROM spans
  WHERE service = {service:String}
) AS pieces
GROUP BY window, id, email
