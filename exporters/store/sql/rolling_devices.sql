-- Distinct devices per person, by the same two sources as rolling.sql.
SELECT if(account_email != '', account_email, if(email != '', email, id)) AS person, uniqExactArray(used) AS devices_
FROM (
  SELECT id, email, groupUniqArrayArray(devices) AS used
  FROM (
    SELECT id, email, devices FROM live_connections
    WHERE kind = 'user' AND bucket >= {a:DateTime('UTC')} AND bucket < {b:DateTime('UTC')} AND toDate(bucket) NOT IN {settled:Array(Date)}
    UNION ALL
    SELECT id, email, devices FROM days WHERE service = {service:String} AND day IN {settled:Array(Date)}
  ) AS pieces
  GROUP BY id, email
) AS each
LEFT JOIN live_accounts ON account_id = id
GROUP BY person
