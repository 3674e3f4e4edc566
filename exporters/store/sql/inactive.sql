-- Accounts of the directory, or everyone ever seen if there is none, with their last access before the instant asked about.
WITH
  (SELECT count() FROM live_accounts) AS known,
  accesses AS (
    SELECT if(account_email != '', account_email, if(email != '', email, id)) AS person, max(last_access) AS last_ms
    FROM live_connections LEFT JOIN live_accounts ON account_id = id
    WHERE kind = 'user' AND bucket < {as_of:DateTime('UTC')}
    GROUP BY person
  ),
  population AS (
    SELECT if(account_email != '', account_email, account_id) AS member, if(countIf(state = 'active') > 0, 'active', min(state)) AS state_, min(created) AS created_
    FROM live_accounts GROUP BY member
    UNION ALL
    SELECT DISTINCT if(email != '', email, id) AS member, '' AS state_, '' AS created_
    FROM (SELECT id, email FROM connections WHERE kind = 'user' UNION ALL SELECT id, email FROM sign_ins)
    WHERE known = 0
  )
SELECT member, last_ms, state_, created_
FROM population LEFT JOIN accesses ON person = member
WHERE last_ms < {cut:Int64}
ORDER BY last_ms, member
