-- Everybody who is named in an event, as the events name them.
SELECT DISTINCT id, email FROM (SELECT id, email FROM connections WHERE kind = 'user' UNION ALL SELECT id, email FROM sign_ins) AS seen
