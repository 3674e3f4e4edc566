SELECT id, at_ms, reason, path, size
FROM live_rejects
WHERE at_ms >= {since:Int64} AND ({reason:String} = '' OR reason = {reason:String}) AND (at_ms, id) < ({at:Int64}, {id:String})
ORDER BY at_ms DESC, id DESC
LIMIT {limit:UInt32}
