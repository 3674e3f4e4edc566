-- What happened to one person, newest first, in one pass: everything since `a`, and since the earlier `kept_a` what is of the `kept` types; of these and
-- of the others so many that either list is whole.  The names are all that the Authentication report takes for them.
SELECT time_ms, type IN {kept:Array(String)} AS is_kept, document
FROM live_sign_ins_of
-- The ids alone are what the table's order finds quickly.
WHERE id IN {ids:Array(String)} AND (id, email) IN {principals:Array(Tuple(String, String))}
  AND time_ms >= {kept_a:Int64} AND time_ms < {b:Int64} AND (time_ms >= {a:Int64} OR is_kept)
ORDER BY time_ms DESC, event_id DESC, part DESC, offset DESC
LIMIT {limit:UInt32} BY is_kept
