-- One row per person of a slice of names with an access or a counted connection in the window, from what was gathered.
SELECT person, max(last_access) AS last_ms, sum(success) AS ok, sum(failed_dns) AS dns, sum(failed_other) AS other,
  sum(bytes_transferred) AS transferred, sum(bytes_received) AS received, sum(relay) AS relayed, sum(p2p) AS direct,
  uniqExactArray(devices) AS used, length(sumMap(client_ips) AS counts) AS addresses,
  arrayStringConcat(arraySlice(arrayPartialSort((address, n) -> (-toInt64(n), address), 10, mapKeys(counts), mapValues(counts)), 1, 10), ' ') AS top
FROM active_people
WHERE report = {report:String} AND ({first:Bool} OR person > {after:String}) AND ({last:Bool} OR person <= {to:String})
GROUP BY person
HAVING last_ms > 0 OR ok + dns + other > 0
ORDER BY person
