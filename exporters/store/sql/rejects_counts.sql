SELECT reason, count() FROM live_rejects WHERE at_ms >= {since:Int64} GROUP BY reason ORDER BY reason
