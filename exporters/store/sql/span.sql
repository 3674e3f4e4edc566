-- The settled days of one rolling window added up per principal.
INSERT INTO spans
SELECT {service:String}, {window:UInt32}, id, email, sum(success), sum(failed_dns), sum(failed_other), sum(bytes_transferred), sum(bytes_received),
  sum(relay), sum(p2p), max(last_access), sumMap(client_ips), groupUniqArrayArray(devices)
FROM days
WHERE service = {service:String} AND day IN {settled:Array(Date)}
GROUP BY id, email
