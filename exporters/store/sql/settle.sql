-- One day added up per principal, so that windows of weeks do not read every quarter hour again and again.
INSERT INTO days
SELECT {service:String}, toDate({a:DateTime('UTC')}), id, email, sum(success), sum(failed_dns), sum(failed_other), sum(bytes_transferred), sum(bytes_received),
  sum(relay), sum(p2p), max(last_access), sumMap(client_ips), groupUniqArrayArray(devices)
FROM live_connections
WHERE kind = 'user' AND bucket >= {a:DateTime('UTC')} AND bucket < {b:DateTime('UTC')}
GROUP BY id, email
