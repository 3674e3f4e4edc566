ALTER TABLE {table:Identifier} DROP PARTITION {month:UInt32}
