ALTER TABLE inactive_people DROP PARTITION {report:String}
