-- Whose last access lies before an instant, or who have none (0; the instant may lie before 1970), of the population and a slice of names, from what was gathered; for inactive.sql.
INSERT INTO inactive_users (report, last_access, person, state, created)
SELECT {report:String}, max(last_access) AS last_ms, person, if(countIf(state = 'active') > 0, 'active', minIf(state, member)), minIf(created, member AND created != '')
FROM inactive_people
WHERE report = {report:String} AND ({first:Bool} OR person > {after:String}) AND ({last:Bool} OR person <= {to:String})
GROUP BY person
HAVING max(member) = 1 AND (last_ms = 0 OR last_ms < {cut:Int64})
