-- What happened to one person lately, newest first: the Authentication report's rows for all names that it takes for them.
SELECT document
FROM live_sign_ins_of
-- The ids alone are what the table's order finds quickly.
WHERE id IN {ids:Array(String)} AND (id, email) IN {principals:Array(Tuple(String, String))}
  AND time_ms >= {a:Int64} AND time_ms < {b:Int64} AND (empty({types:Array(String)}) OR type IN {types:Array(String)})
ORDER BY time_ms DESC, event_id DESC, part DESC, offset DESC
LIMIT {limit:UInt32}
