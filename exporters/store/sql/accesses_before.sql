-- The newest access of each person before an instant.
SELECT if(account_email != '', account_email, if(email != '', email, id)) AS person, max(last_ms) AS last_
FROM (
  SELECT id, email, max(last_access) AS last_ms FROM live_connections WHERE kind = 'user' AND bucket < {before:DateTime('UTC')} GROUP BY id, email
) AS each
LEFT JOIN live_accounts ON account_id = id
GROUP BY person
SETTINGS max_threads = 1 -- behind everybody's back: the other processors are for those who wait
