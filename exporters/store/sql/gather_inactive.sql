-- When the principals of one slice were there last before the instant asked about, for gather_users.sql.
INSERT INTO inactive_people (report, person, last_access)
SELECT {report:String}, if(account_email != '', account_email, if(email != '', email, id)), last_
FROM (
  SELECT id, email, max(last_access) AS last_
  FROM (@slice) AS rollups
  WHERE bucket < {as_of:DateTime('UTC')}
  GROUP BY id, email
) AS principals
LEFT JOIN (@named_accounts) AS accounts ON account_id = id
