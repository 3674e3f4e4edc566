-- The principals of one slice, added up in one pass over the report's window and that of the devices, for active.sql.
INSERT INTO active_people (report, person, last_access, success, failed_dns, failed_other, bytes_transferred, bytes_received, relay, p2p, client_ips, devices)
SELECT {report:String}, if(account_email != '', account_email, if(email != '', email, id)), last_, ok_, dns_, other_, transferred_, received_, relay_, p2p_,
  counts_, devices_
FROM (
  SELECT id, email, bucket >= {a:DateTime('UTC')} AND bucket < {b:DateTime('UTC')} AS inside,
    max(last_access) * inside AS last_, sum(success) * inside AS ok_, sum(failed_dns) * inside AS dns_, sum(failed_other) * inside AS other_,
    sum(bytes_transferred) * inside AS transferred_, sum(bytes_received) * inside AS received_, sum(relay) * inside AS relay_, sum(p2p) * inside AS p2p_,
    mapFilter((address, n) -> inside, sumMap(client_ips)) AS counts_,
    groupUniqArrayArrayIf(devices, bucket >= {device_a:DateTime('UTC')} AND bucket < {device_b:DateTime('UTC')}) AS devices_
  FROM (@slice) AS rollups
  WHERE inside OR bucket >= {device_a:DateTime('UTC')} AND bucket < {device_b:DateTime('UTC')}
  GROUP BY id, email, inside
) AS principals
LEFT JOIN (@named_accounts) AS accounts ON account_id = id
