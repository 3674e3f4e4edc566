SELECT id, at_ms, reason, path, size FROM live_rejects WHERE id = {id:String} AND at_ms >= {since:Int64}
