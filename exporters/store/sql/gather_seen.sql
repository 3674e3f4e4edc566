-- Everyone ever seen, the population where there is no directory, for gather_users.sql.
INSERT INTO inactive_people (report, person, member)
SELECT {report:String}, if(email != '', email, id), 1
FROM (
  SELECT id, email FROM connections WHERE kind = 'user' GROUP BY id, email
  UNION ALL
  SELECT id, email FROM sign_ins_of GROUP BY id, email
) AS seen
SETTINGS optimize_aggregation_in_order = 1, min_insert_block_size_rows = 100000 -- not the engine's million: they lie in memory until then
