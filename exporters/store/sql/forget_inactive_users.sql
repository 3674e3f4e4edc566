ALTER TABLE inactive_users DROP PARTITION {report:String}
