-- What a person was called in events: every id and e-mail that leads to them.
SELECT DISTINCT id, email
FROM (SELECT id, email FROM connections WHERE kind = 'user' UNION ALL SELECT id, email FROM sign_ins) AS seen
LEFT JOIN live_accounts ON account_id = id
WHERE if(account_email != '', account_email, if(email != '', email, id)) = {person:String}
