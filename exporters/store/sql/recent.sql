-- All windows up to a moment, added up per principal: their spans, and the fragments of days that are not settled.
INSERT INTO recent
SELECT {service:String}, window, id, email, sum(ok), sum(dns), sum(other), sum(transferred), sum(received), sum(relayed), sum(direct), max(last_ms),
  sumMap(counts), groupUniqArrayArray(used)
FROM (
  SELECT * FROM (@fragments)
  UNION ALL
  SELECT window, id, email, last_access, success, failed_dns, failed_other, bytes_transferred, bytes_received, relay, p2p, client_ips, devices
  FROM spans
  WHERE service = {service:String}
) AS pieces
GROUP BY window, id, email
