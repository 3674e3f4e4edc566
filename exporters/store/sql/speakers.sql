SELECT kind, id, name, event_at, heard_at, first_heard_at, sightings, noticed_at FROM speakers FINAL WHERE heard_at >= {since:Int64}
