-- Days added up per principal, so that windows of weeks do not read every quarter hour again and again.  The table is in the order of people: one pass
-- for several days costs hardly more than for one.
INSERT INTO days
SELECT {service:String}, toDate(bucket) AS day, id, email, sum(success), sum(failed_dns), sum(failed_other), sum(bytes_transferred), sum(bytes_received),
  sum(relay), sum(p2p), max(last_access), sumMap(client_ips), groupUniqArrayArray(devices)
FROM live_connections
WHERE kind = 'user' AND bucket >= {a:DateTime('UTC')} AND bucket < {b:DateTime('UTC')} AND toDate(bucket) IN {days:Array(Date)}
GROUP BY day, id, email
