-- The rollups of one slice of all principals, as a part of other queries.  An id is never divided, unless it is empty: its e-mails are people.
SELECT * FROM live_connections
WHERE kind = 'user'
  AND ({first:Bool} OR id > {after:String} OR (id = '' AND {after:String} = '' AND email > {after_email:String}))
  AND ({last:Bool} OR id < {to:String} OR (id = {to:String} AND (id != '' OR email <= {to_email:String})))
