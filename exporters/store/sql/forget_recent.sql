ALTER TABLE recent DROP PARTITION {service:String}
